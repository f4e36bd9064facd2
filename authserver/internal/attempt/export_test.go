package attempt

// Says are the words by which refusals are known.
func Says() (all []string) {
	for _, s := range sentences {
		if s.says != "" {
			all = append(all, s.says)
		}
	}
	return all
}

// Sentences are all that can be said, not filled in.
func Sentences() (all []string) {
	for _, s := range sentences {
		all = append(all, s.text)
		if s.machine != "" {
			all = append(all, s.machine)
		}
	}
	for _, s := range left {
		all = append(all, s)
	}
	return append(all, saysSignIn, saysLocked, saysOurs, saysClock,
		ForgotResource("https://a.example", "https://b.example"))
}

// Machines are the words of refusals that a client without a person is told of in other words.
func Machines() (all []string) {
	for _, s := range sentences {
		if s.machine != "" {
			all = append(all, s.code+"\x00"+s.says)
		}
	}
	return all
}

// Narrow changes how many may wait, and returns how many might.
func (l *Log) Narrow(most int) (was int) {
	was, l.most = l.most, most
	return was
}
