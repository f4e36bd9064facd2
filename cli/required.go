package cli

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// required are the flags without which a command cannot be done, by the command's name: of each
// list one at least.
var required = map[string][][]string{
	"apply":                {{"file", "f"}},
	"tenant create":        {{"id"}},
	"tenant rename":        {{"name"}},
	"policy set":           {{"tenant"}},
	"role put":             {{"tenant"}, {"role"}, {"scopes", "includes"}},
	"role list":            {{"tenant"}},
	"role delete":          {{"tenant"}},
	"resource put":         {{"scope"}},
	"user create":          {{"email"}},
	"member put":           {{"email"}, {"tenant"}},
	"member list":          {{"tenant"}},
	"member remove":        {{"email"}, {"tenant"}},
	"client create":        {{"tenant", "redirect-uri", "server"}, {"scopes", "redirect-uri", "server"}},
	"initial-token create": {{"tenant"}},
	"issuer trust":         {{"tenant"}, {"jwks-uri", "jwks-file"}},
	"rollout set":          {{"tenant", "nobody"}},
	"explain":              {{"token", "client"}},
	"calls set":            {{"tenant"}},
}

// lacks says which required flag is not given, or which flag of a command that changes something
// has no value: a variable of the shell that is not set. Without it the command would do more than
// was meant, as with --client of grant revoke, or --tool of rollout set.
func (c *call) lacks() error {
	for _, either := range required[c.command.name] {
		given := false
		for _, name := range either {
			given = given || c.given(c.flags.Lookup(name))
		}
		if !given {
			return misused(fmt.Sprintf("%s %s -h lists what it takes, with an example", Name, c.command.name),
				fmt.Errorf("%s: %s is missing", c.command.name, flagsOf(either)))
		}
	}
	var empty []string
	c.flags.Visit(func(f *flag.Flag) {
		if _, kept := f.Value.(flag.Getter); kept && c.own[f.Name] && c.command.acts() &&
			strings.TrimSpace(f.Value.String()) == "" {
			empty = append(empty, f.Name)
		}
	})
	if len(empty) > 0 {
		return misused(fmt.Sprintf("%s %s -h lists what it takes, with an example", Name, c.command.name),
			fmt.Errorf("%s: --%s has no value", c.command.name, empty[0]))
	}
	return nil
}

// requires says whether a flag is required, and which others are enough in its place. Of a flag
// with another list where less is enough, that one counts.
func (c *call) requires(name string) (others []string, must bool) {
	for _, either := range required[c.command.name] {
		if i := slices.Index(either, name); i >= 0 && (!must || len(either)-1 < len(others)) {
			others, must = slices.Delete(slices.Clone(either), i, i+1), true
		}
	}
	return others, must
}

// given says whether a flag has a value. One that is read as it comes keeps none: there it counts
// that it was named.
func (c *call) given(f *flag.Flag) bool {
	value := f.Value.String()
	if yes, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && yes.IsBoolFlag() {
		return value == "true"
	}
	if _, read := f.Value.(flag.Getter); !read {
		return c.origin[f.Name] != ""
	}
	return strings.TrimSpace(value) != ""
}

// flagsOf names flags of which one is enough.
func flagsOf(names []string) string {
	var flags []string
	for _, name := range names {
		hyphens := "--"
		if len(name) == 1 {
			hyphens = "-"
		}
		flags = append(flags, hyphens+name)
	}
	return strings.Join(flags, " or ")
}
