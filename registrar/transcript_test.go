package registrar

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write what the server answers into the transcripts")

// TestTranscripts replays what JsSIP and SIP.js send, in virtual time from the first second
// of the year 2000. A transcript in testdata has these parts, each of which begins with a
// line of its own:
//
//	>> N          a request over WebSocket flow N; {answer USER PASSWORD NC} in it stands for
//	              credentials for the last challenge
//	<<            the response, what is random in it replaced by *
//	## wait T     time passes
//	## close N    flow N closes
//	## lookup AOR the contacts that can be reached, one a line
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) {
				got = replay(newServer(t, options{reg: Config{Inline: true, FlowTimer: 2 * time.Minute}}), string(text))
			})
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if line := firstDifference(got, string(text)); line != "" {
				t.Errorf("%s\nin\n%s", line, got)
			}
		})
	}
}

// partStart matches the line that a part begins with.
var partStart = regexp.MustCompile(`(?m)^(>>|<<|##).*\n`)

// replay returns the transcript with the server's answers.
func replay(s *server, text string) string {
	var out strings.Builder
	starts := partStart.FindAllStringIndex(text, -1)
	out.WriteString(text[:starts[0][0]])
	challenged, answered := "", ""
	for i, start := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		out.WriteString(text[start[0]:start[1]])
		head, body := strings.Fields(text[start[0]:start[1]]), text[start[1]:end]
		switch head[0] {
		case ">>":
			out.WriteString(body)
			answered = s.send(wsFlow(number(head[1])), fillIn(body, challenged))
			if strings.Contains(answered, "-Authenticate:") {
				challenged = answered
			}
		case "<<":
			out.WriteString(mask(answered))
		default:
			out.WriteString(s.command(head[1], head[2]))
		}
	}
	return out.String()
}

func (s *server) command(name, arg string) string {
	switch name {
	case "wait":
		d, err := time.ParseDuration(arg)
		if err != nil {
			s.t.Fatal(err)
		}
		<-time.After(d)
	case "close":
		s.closed(wsFlow(number(arg)))
	case "lookup":
		return strings.Join(append(s.lookup(arg), ""), "\n")
	default:
		s.t.Fatalf("unknown command %s", name)
	}
	return ""
}

func number(s string) (n uint64) {
	for _, c := range s {
		n = n*10 + uint64(c-'0')
	}
	return n
}

var answerPlace = regexp.MustCompile(`\{answer (\w+) (\w+) (\d+)\}`)

func fillIn(request, challenged string) string {
	return answerPlace.ReplaceAllStringFunc(request, func(place string) string {
		m := answerPlace.FindStringSubmatch(place)
		return answer(challenged, m[1], m[2], int(number(m[3])))
	})
}

var (
	toTag = regexp.MustCompile(`(?m)^(To: .*;tag=).*$`)
	nonce = regexp.MustCompile(`nonce="[^"]*"`)
	temp  = regexp.MustCompile(`sip:tgruu\.[^@]*@`)
)

func mask(response string) string {
	response = temp.ReplaceAllString(response, "sip:tgruu.*@")
	return nonce.ReplaceAllString(toTag.ReplaceAllString(response, "${1}*"), `nonce="*"`)
}

// firstDifference returns the first line that differs, as got and wanted.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	if len(g) != len(w) {
		return "not of the same length"
	}
	return ""
}
