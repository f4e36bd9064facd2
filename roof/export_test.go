package roof

// CommandNames are the names of all commands.
func CommandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}
