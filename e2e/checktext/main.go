// Command checktext holds the text of the repository to the rules of CONTRIBUTING.md: widths of
// lines, words of the glossary, ids of requirements, and the length of the README. make lint runs
// it.
package main

import (
	"fmt"
	"os"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	found, looked, err := Check(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checktext:", err)
		os.Exit(2)
	}
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		fmt.Fprintf(os.Stderr, "checktext: %d faults in %d files\n", len(found), looked)
		os.Exit(1)
	}
}
