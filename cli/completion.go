package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// completionWords is what the shells' scripts call: it prints what may stand in place of the last
// word.
const completionWords = "completion-words"

// completion prints a shell's script.
func completion(*flag.FlagSet) action {
	return func(_ context.Context, c *call) error {
		script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.operand]
		if !ok {
			return misused(Name+" completion bash|zsh|fish", fmt.Errorf("there is no completion for %.80q", c.operand))
		}
		return c.write([]byte(strings.NewReplacer("@NAME@", Name, "@WORDS@", completionWords).Replace(script)))
	}
}

const bashScript = `_@NAME@() {
  local IFS=$'\n'
  COMPREPLY=($(@NAME@ @WORDS@ "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [ ${#COMPREPLY[@]} -eq 0 ]; then compopt -o default 2>/dev/null; fi
}
complete -F _@NAME@ @NAME@`

const zshScript = `#compdef @NAME@
_@NAME@() {
  local -a found
  found=("${(@f)$(@NAME@ @WORDS@ "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _@NAME@ @NAME@`

const fishScript = `function __@NAME@_words
  set -l words (commandline -opc) (commandline -ct)
  @NAME@ @WORDS@ $words[2..-1] 2>/dev/null
end
complete -c @NAME@ -a '(__@NAME@_words)'`

// complete prints the words that may stand in place of the last one, a line each: nouns, verbs, and
// flags.
func (p *Program) complete(words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	var found []string
	offer := func(word string) {
		if strings.HasPrefix(word, last) && !slices.Contains(found, word) {
			found = append(found, word)
		}
	}
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(before) < len(name) {
			if slices.Equal(before, name[:len(before)]) {
				offer(name[len(before)])
			}
			continue
		}
		if slices.Equal(before[:len(name)], name) && strings.HasPrefix(last, "-") {
			fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
			(&call{program: p, command: c}).register(fs)
			fs.VisitAll(func(f *flag.Flag) { offer("--" + f.Name) })
		}
	}
	if len(before) == 0 {
		offer("help")
		offer("version")
	}
	for _, word := range found {
		if _, err := fmt.Fprintln(p.Stdout, word); err != nil {
			return errors.Join(errors.New("writing the words"), err)
		}
	}
	return nil
}
