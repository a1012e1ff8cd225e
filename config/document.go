package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one complaint about a configuration: where, what, and what to do
// about it. Its text is a single line and holds no secret.
type Problem struct {
	// File is the file in which the trouble is.
	File string
	// Line counts from 1. It is 0 if the file as a whole is meant.
	Line int
	// Key is the path of the key, such as applications[0].tasks[2].status. It is
	// empty if the file as a whole, or its syntax, is meant.
	Key string
	// Err says what is wrong.
	Err error
}

// Error returns the complaint as FILE:LINE: KEY: what is wrong.
func (p *Problem) Error() string {
	text := p.Err.Error()
	if p.Key != "" {
		text = p.Key + ": " + text
	}
	if p.File != "" {
		text = p.where() + ": " + text
	}
	return text
}

// where returns FILE:LINE, or FILE if the line is not known.
func (p *Problem) where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// maxProblems is how many complaints about one file are kept.
const maxProblems = 1000

// document is a YAML file that is being read: it knows which line each key is
// on and gathers complaints. A nil document knows no lines.
type document struct {
	file     string
	ifEmpty  string          // what to do about an empty file
	lines    map[string]int  // by path of the key
	rejected map[string]bool // paths whose value could not be decoded
	problems []*Problem
	omitted  int // complaints beyond maxProblems
	nodes    int // visited
}

// readDocument reads and parses a file that has to hold one YAML document. If
// it does not, the complaint is in the document, and the node is nil. The
// complaint about an empty file goes on with what to do about it.
func readDocument(file, ifEmpty string) (*document, *yaml.Node) {
	d := &document{file: file, ifEmpty: ifEmpty, lines: map[string]int{}, rejected: map[string]bool{}}
	data, err := os.ReadFile(file) //nolint:gosec // Reading the file that the user names is the purpose.
	if err == nil {
		if strings.EqualFold(filepath.Ext(file), ".json") {
			data = jsonToYAML(data)
		}
		return d, d.parse(data)
	}
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err // The complaint names the file already.
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.reject(0, "", "%w: create the file or name another", err)
	} else {
		d.reject(0, "", "cannot be read: %w", err)
	}
	return d, nil
}

// jsonEscape matches an escape in a JSON string, a surrogate pair as one.
var jsonEscape = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)`)

// jsonToYAML replaces the escapes that JSON has and the YAML library has not.
func jsonToYAML(data []byte) []byte {
	return jsonEscape.ReplaceAllFunc(data, func(escape []byte) []byte {
		if len(escape) == 2 && escape[1] != '/' {
			return escape
		}
		var text string
		if json.Unmarshal(slices.Concat([]byte(`"`), escape, []byte(`"`)), &text) != nil {
			return escape
		}
		return []byte(text)
	})
}

// parse returns the content of the only document in data.
func (d *document) parse(data []byte) *yaml.Node {
	// Some editors begin a file with a byte order mark.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		d.reject(0, "", "is empty: %s", d.ifEmpty)
		return nil
	case err != nil:
		d.rejectSyntax(data, err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.reject(second.Line, "", "a second document begins here: keep one per file")
		return nil
	case !errors.Is(err, io.EOF):
		d.rejectSyntax(data, err)
		return nil
	}
	root := first.Content[0]
	if isNull(root) {
		d.reject(0, "", "is empty: %s", d.ifEmpty)
		return nil
	}
	return root
}

var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
	// What the YAML library's parser finds, as opposed to its scanner, comes with a
	// line that counts from 0, and is where the trouble or the block around it
	// begins.
	parserError = regexp.MustCompile(`^did not find expected (key|node content|<.*>|'-' indicator|',' or '[\]}]')$`)
)

// rejectSyntax complains about what the YAML library could not parse.
func (d *document) rejectSyntax(data []byte, err error) {
	match := syntaxError.FindStringSubmatch(err.Error())
	if match == nil {
		d.reject(1, "", "is not YAML")
		return
	}
	line, text := 1, match[2]
	if n, err := strconv.Atoi(match[1]); err == nil {
		line = n
	}
	switch anchor := unknownAnchor.FindStringSubmatch(text); {
	case anchor != nil:
		// The name is kept out of the message: it may be an unquoted secret.
		before, _, _ := bytes.Cut(data, []byte("*"+anchor[1]))
		d.reject(1+bytes.Count(before, []byte("\n")), "", "refers to an anchor that does not exist: put a text that begins with * in quotes")
	case parserError.MatchString(text):
		if match[1] != "" {
			line = min(line+1, 1+bytes.Count(bytes.TrimRight(data, "\r\n"), []byte("\n")))
		}
		d.reject(line, "", "is not YAML: %s, here or in the block that begins here", text)
	default:
		d.reject(line, "", "is not YAML: %s", text)
	}
}

// at remembers the line of a key.
func (d *document) at(path string, line int) { d.lines[path] = line }

// has tells whether the file gives the key.
func (d *document) has(path string) bool {
	_, ok := d.lines[path]
	return ok
}

// line returns the line of a key, or of the nearest one above it that the file
// gives.
func (d *document) line(path string) int {
	if d == nil {
		return 0
	}
	for ; path != ""; path = parent(path) {
		if line, ok := d.lines[path]; ok {
			return line
		}
	}
	return d.lines[""]
}

// problem returns a complaint about a key, without gathering it.
func (d *document) problem(path string, err error) *Problem {
	p := &Problem{Line: d.line(path), Key: path, Err: err}
	if d != nil {
		p.File = d.file
	}
	return p
}

// reject complains about a value that could not be decoded. Complaints about
// what is missing in it, or about what it holds, would only be noise.
func (d *document) reject(line int, path, format string, args ...any) {
	d.rejected[path] = true
	d.add(line, path, format, args...)
}

// complain reports a wrong value, unless it has been rejected already.
func (d *document) complain(path, format string, args ...any) {
	if d.rejected[""] {
		return
	}
	for p := path; p != ""; p = parent(p) {
		if d.rejected[p] {
			return
		}
	}
	d.add(d.line(path), path, format, args...)
}

func (d *document) add(line int, path, format string, args ...any) {
	if len(d.problems) == maxProblems {
		d.omitted++
		return
	}
	d.problems = append(d.problems, &Problem{File: d.file, Line: line, Key: path, Err: fmt.Errorf(format, args...)})
}

// err joins the complaints in the order of their lines.
func (d *document) err() error {
	slices.SortStableFunc(d.problems, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, 0, len(d.problems)+1)
	for _, p := range d.problems {
		errs = append(errs, p)
	}
	if d.omitted > 0 {
		errs = append(errs, d.problem("", fmt.Errorf("is wrong in %d more places", d.omitted)))
	}
	return errors.Join(errs...)
}

// child returns the path of a key in the mapping at path.
func child(path, key string) string {
	if key == "" || strings.ContainsFunc(key, isUnusual) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// isUnusual tells whether a key with this character needs quotes in a path.
func isUnusual(r rune) bool {
	isLetter, isDigit := 'a' <= r|0x20 && r|0x20 <= 'z', '0' <= r && r <= '9'
	return !isLetter && !isDigit && r != '_' && r != '-'
}

// element returns the path of an element of the list at path.
func element(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// parent returns the path of what holds the key; of the root it is "".
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
