package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// read decodes a file that has to hold one YAML document, and nothing that the
// value does not know. A complaint about an empty file goes on with what to do
// about it. After any complaint the value is of no use.
func read(file, ifEmpty string, into any) *problems {
	p := &problems{index: newIndex(file)}
	data, err := readAtMost(file, maxFile)
	if err != nil {
		p.complainOfFile(err)
		return p
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err = decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF), err == nil && document.Content[0].ShortTag() == "!!null":
		p.complain("", "is empty: %s", ifEmpty)
		return p
	case err != nil:
		p.complainOfSyntax(err)
		return p
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		p.complainAt(second.Line, "a second document begins here: keep one per file")
		return p
	case !errors.Is(err, io.EOF):
		p.complainOfSyntax(err)
		return p
	}

	p.add(document.Content[0], "")
	if p.complainOfForm(document.Content[0]); len(p.list) > 0 {
		return p
	}
	decoder = yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		p.complainOfContent(err)
	}
	return p
}

// maxFile is far more than a configuration or a task file has, in bytes.
const maxFile = 16 << 20

// tooLongError is a file that is longer than so many bytes.
type tooLongError int

func (e tooLongError) Error() string { return fmt.Sprintf("it is longer than %d bytes", int(e)) }

// readAtMost reads a file, which may be a device without end.
func readAtMost(file string, most int) ([]byte, error) {
	f, err := os.Open(file) //nolint:gosec // Naming the file is what the configuration is for.
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = tooLongError(most)
	}
	return data, err
}

func (p *problems) complainOfFile(err error) {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err // The complaint names the file already.
	}
	if errors.Is(err, fs.ErrNotExist) {
		p.complain("", "%w: create the file or name another", err)
	} else {
		p.complain("", "cannot be read: %w", err)
	}
}

// complainAt reports what is wrong at a line, with the key that it belongs to.
func (p *problems) complainAt(line int, text string) {
	p.list = append(p.list, &Problem{File: p.file, Line: line, Key: p.path(line), Err: errors.New(text)})
}

// located matches what the YAML library says about a line: it tells the line in
// its words only. They may quote a value, perhaps a secret, which is left out.
var located = regexp.MustCompile("(?s)^(?:yaml: )?line ([0-9]+): ([^`]*)(?:`.*` )?(.*)$")

// locate takes the line from what the YAML library says. Without one, it is 0.
func locate(message string) (line int, text string) {
	match := located.FindStringSubmatch(message)
	if match == nil {
		return 0, ""
	}
	line, _ = strconv.Atoi(match[1])
	return line, match[2] + match[3]
}

func (p *problems) complainOfSyntax(err error) {
	line, text := locate(err.Error())
	if line == 0 {
		// The library's words are about the first line, or name an alias that is
		// none, but a secret without quotes.
		p.complain("", "is not YAML: look at its first line, and put texts that begin with * in quotes")
		return
	}
	p.complainAt(line, "is not YAML: "+text)
}

// complainOfForm refuses what the library would pass over in silence: tags, with
// which a secret that begins with an exclamation mark would be cut, and nothing
// in the place of a key or an element.
func (p *problems) complainOfForm(n *yaml.Node) {
	if n.Style&yaml.TaggedStyle != 0 {
		p.complainAt(n.Line, "has a YAML tag, which has no use here: put a text that begins with ! in quotes")
	}
	for i, c := range n.Content {
		isValue := n.Kind == yaml.MappingNode && i%2 == 1
		if !isValue && c.ShortTag() == "!!null" {
			p.complainAt(c.Line, "has nothing where a key or a list's element should be: give one, or remove the dash or colon")
		}
		p.complainOfForm(c)
	}
}

// complainOfContent reports what does not fit the value to decode into.
func (p *problems) complainOfContent(err error) {
	typeError, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		p.complain("", "cannot be understood: %w", err) // Aliases or merges are wrong.
		return
	}
	seen := map[string]bool{} // Aliases repeat complaints.
	for _, message := range typeError.Errors {
		if line, text := locate(message); !seen[message] {
			seen[message] = true
			p.complainAt(line, plainly(text))
		}
	}
}

var (
	unknownField = regexp.MustCompile(`^field \S+ not found in type \S+$`)
	wrongKind    = regexp.MustCompile(`^cannot unmarshal !!([a-z]+) into (\S+)$`)
)

// plainly puts what the YAML library says of Go's types into a user's words. What
// it does not know it leaves as it is.
func plainly(text string) string {
	if unknownField.MatchString(text) {
		return "is not a key that is known here: see the configuration reference in the README"
	}
	match := wrongKind.FindStringSubmatch(text)
	if match == nil {
		return text
	}
	is := map[string]string{
		"str": "a text", "int": "a number", "float": "a number", "bool": "true or false",
		"seq": "a list", "map": "a mapping of keys to values", "timestamp": "a time",
	}[match[1]]
	must := "a mapping of keys to values"
	switch into := match[2]; {
	case into == "int", into == "float64":
		must = "a whole number"
	case into == "bool":
		must = "true or false"
	case into == "string", into == "config.plain":
		must = "a text"
	case strings.HasPrefix(into, "[]"):
		must = "a list"
	}
	if is == "" {
		return "must be " + must
	}
	return "is " + is + ", but must be " + must
}
