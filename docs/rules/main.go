// Rules writes the table in README.md: each rule of RFC 3261 §16 with the files that obey
// it and the tests that prove it, as their comments cite it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule is a section of RFC 3261 §16, or a step of one.
type rule struct {
	section string // "16.7"
	step    int    // 0 for the section as a whole
	title   string
}

// rules are those that a stateful proxy is to obey.
var rules = []rule{
	{"16.2", 0, "100 Trying at once"},
	{"16.3", 1, "reasonable syntax"},
	{"16.3", 2, "URI scheme"},
	{"16.3", 3, "Max-Forwards"},
	{"16.3", 4, "loop detection"},
	{"16.3", 5, "Proxy-Require"},
	{"16.3", 6, "Proxy-Authorization"},
	{"16.4", 0, "route information preprocessing"},
	{"16.5", 0, "determining request targets"},
	{"16.6", 0, "forwarding in groups"},
	{"16.6", 1, "copy request"},
	{"16.6", 2, "Request-URI"},
	{"16.6", 3, "Max-Forwards"},
	{"16.6", 4, "Record-Route"},
	{"16.6", 5, "additional header fields"},
	{"16.6", 6, "postprocess routing information"},
	{"16.6", 7, "determine next-hop address, port, and transport"},
	{"16.6", 8, "Via"},
	{"16.6", 9, "Content-Length"},
	{"16.6", 10, "forward request"},
	{"16.6", 11, "set Timer C"},
	{"16.7", 1, "find context"},
	{"16.7", 2, "update Timer C"},
	{"16.7", 3, "remove topmost Via"},
	{"16.7", 4, "add response to context, recursion"},
	{"16.7", 5, "check response for forwarding"},
	{"16.7", 6, "choosing the best response"},
	{"16.7", 7, "aggregate authorization header field values"},
	{"16.7", 8, "Record-Route in responses"},
	{"16.7", 9, "forward response"},
	{"16.7", 10, "generate CANCELs"},
	{"16.8", 0, "processing Timer C"},
	{"16.9", 0, "handling transport errors"},
	{"16.10", 0, "CANCEL processing"},
	{"16.11", 0, "stateless forwarding, of ACK"},
	{"16.12", 0, "proxy route processing"},
}

// places are where a rule is obeyed and proved.
type places struct{ files, tests []string }

type key struct {
	section string
	step    int
}

// A citation is written out, "RFC 3261 §16.7 step 5" or "steps 4 to 6". Further steps of the
// section that a function cites may be named alone, "step 8".
var (
	citation = regexp.MustCompile(`RFC 3261 §(16(?:\.\d+)?)(?:,? steps? (\d+)(?: (to|and) (\d+))?)?`)
	further  = regexp.MustCompile(`(?i)\bstep (\d+)\b`)
	function = regexp.MustCompile(`^func (?:\([^)]*\) )?(\w+)`)
)

// collect reads the sources below root.
func collect(root string) (map[key]*places, error) {
	found := make(map[key]*places)
	patterns := []string{"proxy/*.go", "proxy/testdata/*.txt", "sip/transaction/*.go", "cmd/sipway/*.go", "interop/*.go"}
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			scan(found, filepath.ToSlash(name), string(text))
		}
	}
	return found, nil
}

// scan notes the citations of one file. Those of a test count for the test function, those
// above a function for what follows.
func scan(found map[key]*places, file, text string) {
	if filepath.Base(file) == "doc.go" {
		return // a list of files, not a place
	}
	script, test := strings.HasSuffix(file, ".txt"), strings.HasSuffix(file, "_test.go")
	var pending []key
	name, section := "", ""
	note := func(k key) {
		p := found[k]
		if p == nil {
			p = new(places)
			found[k] = p
		}
		switch {
		case script:
			p.tests = add(p.tests, link(file, filepath.Base(file)))
		case test && strings.HasPrefix(name, "Test"):
			p.tests = add(p.tests, link(file, name))
		case !test:
			p.files = add(p.files, link(file, file))
		}
	}
	for line := range strings.Lines(text) {
		if m := function.FindStringSubmatch(line); m != nil {
			name = m[1]
			for _, k := range pending {
				note(k)
			}
			pending = nil
		}
		cited, last := cite(line, section)
		section = last
		for _, k := range cited {
			if test && strings.HasPrefix(line, "//") {
				pending = append(pending, k)
			} else {
				note(k)
			}
		}
		if strings.HasPrefix(line, "}") {
			name, section = "", ""
		}
	}
}

// cite returns the rules that a line cites, and the section it is in after that.
func cite(line, section string) (keys []key, last string) {
	matches := citation.FindAllStringSubmatch(line, -1)
	for _, m := range matches {
		section = m[1]
		from, _ := strconv.Atoi(m[2])
		to := from
		if m[4] != "" {
			to, _ = strconv.Atoi(m[4])
		}
		if m[3] == "and" {
			keys = append(keys, key{section, from})
			from = to
		}
		for step := from; step <= to; step++ {
			keys = append(keys, key{section, step})
		}
	}
	if len(matches) == 0 && section != "" {
		for _, m := range further.FindAllStringSubmatch(line, -1) {
			step, _ := strconv.Atoi(m[1])
			keys = append(keys, key{section, step})
		}
	}
	return keys, section
}

func add(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func link(file, text string) string { return "[" + text + "](" + file + ")" }

// table has a row for each rule. The rules that nothing obeys or nothing proves are
// returned as missing.
func table(found map[key]*places) (text string, missing []string) {
	var b strings.Builder
	b.WriteString("| rule | | obeyed in | proved by |\n|---|---|---|---|\n")
	for _, r := range rules {
		name := "§" + r.section
		if r.step > 0 {
			name += " step " + strconv.Itoa(r.step)
		}
		p := found[key{r.section, r.step}]
		if p == nil || len(p.files) == 0 || len(p.tests) == 0 {
			missing = append(missing, name+" "+r.title)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, r.title, strings.Join(p.files, ", "), strings.Join(p.tests, ", "))
	}
	return b.String(), missing
}

// The table stands between these lines of README.md.
const (
	readme = "README.md"
	begin  = "<!-- make rules writes this table -->\n\n"
	end    = "\n<!-- to here -->\n"
)

// insert puts the table in its place in the text of README.md.
func insert(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("%s has no place for the table, between %q and %q", readme, begin, end)
	}
	return before + begin + table + end + after, nil
}

func write() error {
	found, err := collect(".")
	if err != nil {
		return err
	}
	rows, missing := table(found)
	if len(missing) > 0 {
		return fmt.Errorf("not obeyed or not proved: %s", strings.Join(missing, "; "))
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	renewed, err := insert(string(text), rows)
	if err != nil {
		return err
	}
	return os.WriteFile(readme, []byte(renewed), 0o644)
}

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}
