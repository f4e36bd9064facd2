package cli

// CommandNames are the names of all commands.
func CommandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// Required is which flags a command requires; see required.
func Required(command string) [][]string { return required[command] }

// OperandOf is what must follow a command without a flag.
func OperandOf(command string) string {
	for _, c := range commands() {
		if c.name == command {
			return c.operand
		}
	}
	return ""
}
