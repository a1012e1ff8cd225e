package config

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// index knows which line of a file each key is on. The zero index knows none.
type index struct {
	file   string
	lines  map[string]int  // by path of the key
	paths  map[int]string  // by line: the innermost key that begins there
	floats map[string]bool // paths of numbers that the library would round to whole ones
}

func newIndex(file string) index {
	return index{file: file, lines: map[string]int{}, paths: map[int]string{}, floats: map[string]bool{}}
}

// secrets matches keys below which nothing is named: it would be a part of a
// secret that is taken for a key, as in "pass: word".
var secrets = regexp.MustCompile(`\.(secret|tls_config\.key|proxy_connect_header\.[^.]*)$`)

// add enters what is below a node. What an alias stands for is entered only
// where it is written down.
func (x index) add(n *yaml.Node, path string) {
	enter := func(path string, begin, value *yaml.Node) {
		x.lines[path] = begin.Line
		x.floats[path] = value.ShortTag() == "!!float"
		// Where several keys share a line, in flow style, the outermost is meant.
		if _, taken := x.paths[begin.Line]; !taken || n.Style&yaml.FlowStyle == 0 {
			x.paths[begin.Line] = path
		}
		if !secrets.MatchString(path) {
			x.add(value, path)
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			enter(child(path, n.Content[i].Value), n.Content[i], n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			enter(element(path, i), item, item)
		}
	}
}

// line returns the line of a key, or of the nearest one above it that is known,
// or 0.
func (x index) line(path string) int {
	for ; path != ""; path = parent(path) {
		if line, ok := x.lines[path]; ok {
			return line
		}
	}
	return 0
}

// path returns the innermost key that a line belongs to.
func (x index) path(line int) string {
	for ; line > 0; line-- {
		if path, ok := x.paths[line]; ok {
			return path
		}
	}
	return ""
}

// problem returns a complaint about a key.
func (x index) problem(path string, err error) *Problem {
	return &Problem{File: x.file, Line: x.line(path), Key: path, Err: err}
}

// child returns the path of a key in the mapping at path.
func child(path, key string) string {
	return strings.TrimPrefix(path+"."+key, ".")
}

// element returns the path of an element of the list at path.
func element(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// parent returns the path of what holds the key; of the root it is "".
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
