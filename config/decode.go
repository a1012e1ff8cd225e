package config

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds how much a document may grow through aliases.
	maxNodes = 500_000
	// maxMergeDepth bounds mappings that are merged into one another.
	maxMergeDepth = 10
)

// decode fills in the value that into points at. Unlike the YAML library's own
// decoding it knows each key's path, goes on after a complaint, refuses what
// would be dropped or rounded silently, and prints no values.
func (d *document) decode(root *yaml.Node, into any) {
	if root == nil {
		return
	}
	d.at("", root.Line)
	d.value(root, reflect.ValueOf(into).Elem(), "")
}

// value decodes the node of the key at path.
func (d *document) value(n *yaml.Node, v reflect.Value, path string) {
	if d.tooLarge(n) {
		return
	}
	if n = d.resolve(n, path); n == nil {
		return
	}
	if isNull(n) {
		switch v.Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice:
			if _, isURL := v.Interface().(commoncfg.URL); !isURL {
				return // A block whose content is commented out.
			}
		}
		d.mismatch(n, path, "has no value: give one or remove the key")
		return
	}

	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		duration, err := model.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.mismatch(n, path, "must be a duration such as 30s, 5m or 1h30m")
			return
		}
		*p = time.Duration(duration)
		return
	case *commoncfg.TLSVersion:
		version, ok := commoncfg.TLSVersions[n.Value]
		if n.Kind != yaml.ScalarNode || !ok {
			d.mismatch(n, path, "must be one of TLS10, TLS11, TLS12, TLS13")
			return
		}
		*p = version
		return
	case *commoncfg.URL:
		u, err := url.Parse(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			// The parser's own words could repeat a password.
			d.mismatch(n, path, "must be a URL such as http://proxy.example.com:3128")
			return
		}
		if n.Value != "" {
			p.URL = u
		}
		return
	}

	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.String:
		if n.Kind != yaml.ScalarNode {
			d.mismatch(n, path, "must be a text: put it in quotes if it is one")
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		var i int
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&i) != nil {
			d.mismatch(n, path, "must be a whole number")
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		var b bool
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
			d.mismatch(n, path, "must be true or false")
			return
		}
		v.SetBool(b)
	case reflect.Slice:
		d.slice(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Struct:
		d.structure(n, v, path)
	default:
		panic("config: cannot decode into " + v.Type().String())
	}
}

func (d *document) slice(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.mismatch(n, path, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		p := element(path, i)
		d.at(p, item.Line)
		if isNull(item) {
			d.mismatch(item, p, "has no value: give one or remove the dash")
			continue
		}
		d.value(item, v.Index(i), p)
	}
}

func (d *document) mapping(n *yaml.Node, v reflect.Value, path string) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, e := range entries {
		p := child(path, e.key)
		d.at(p, e.line)
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, item, p)
		v.SetMapIndex(reflect.ValueOf(e.key), item)
	}
}

func (d *document) structure(n *yaml.Node, v reflect.Value, path string) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	for _, e := range entries {
		p := child(path, e.key)
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == e.key })
		if i < 0 {
			d.reject(e.line, p, "is not a known key; known here are %s", fields)
			continue
		}
		d.at(p, e.line)
		d.value(e.value, v.FieldByIndex(fields[i].index), p)
	}
}

// entry is a key of a mapping.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries returns the keys of a mapping in their order, those that are merged
// into it last.
func (d *document) entries(n *yaml.Node, path string) (entries []entry, ok bool) {
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, path, "must be a mapping of keys to values")
		return nil, false
	}
	seen := make(map[string]bool, len(n.Content)/2)
	return d.merge(nil, seen, n, path, 0), true
}

// merge appends the entries of a mapping that are not in seen.
func (d *document) merge(entries []entry, seen map[string]bool, n *yaml.Node, path string, depth int) []entry {
	if d.tooLarge(n) {
		return entries
	}
	if depth > maxMergeDepth {
		d.reject(n.Line, path, "merges too many mappings into one another")
		return entries
	}
	var merged []*yaml.Node
	own := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
			continue
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.reject(key.Line, path, "has a key that is not a text: put it in quotes")
			continue
		}
		if first, twice := own[key.Value]; twice {
			d.reject(n.Content[i].Line, child(path, key.Value), "is given twice, first on line %d: remove one", first)
			continue
		}
		own[key.Value] = n.Content[i].Line
		if seen[key.Value] {
			continue
		}
		seen[key.Value] = true
		entries = append(entries, entry{key: key.Value, line: n.Content[i].Line, value: value})
	}
	for _, m := range merged {
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, source := range sources {
			if source = d.resolve(source, path); source == nil {
				continue
			}
			if source.Kind != yaml.MappingNode {
				d.reject(m.Line, path, "can merge nothing but mappings with <<")
				continue
			}
			entries = d.merge(entries, seen, source, path, depth+1)
		}
	}
	return entries
}

// tooLarge counts a visited node and tells when there were too many.
func (d *document) tooLarge(n *yaml.Node) bool {
	d.nodes++
	if d.nodes == maxNodes+1 {
		d.reject(n.Line, "", "the document is too large, or its aliases make it so")
	}
	return d.nodes > maxNodes
}

// resolve follows an alias. It refuses tags and then returns nil: whoever
// writes a text that begins with an exclamation mark hardly wants it cut.
func (d *document) resolve(n *yaml.Node, path string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.mismatch(n, path, "has a YAML tag, which has no use here: put a text that begins with ! in quotes")
		return nil
	}
	return n
}

// mismatch rejects a value that is not what its key needs.
func (d *document) mismatch(n *yaml.Node, path, text string) {
	line := n.Line
	if d.has(path) {
		line = d.line(path)
	}
	d.reject(line, path, "%s", text)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle == 0 && n.ShortTag() == "!!null"
}

// field is a struct's field that a YAML key stands for.
type field struct {
	key       string
	index     []int
	omitEmpty bool
}

// unsupported are keys of the ecosystem's TLS block that refer to a secret
// manager, which this exporter has none of.
var unsupported = []string{"ca_ref", "cert_ref", "key_ref"}

type fieldList []field

// fieldsOf returns the fields of a struct type by their yaml tags, those of
// inlined structs in place.
func fieldsOf(t reflect.Type) fieldList {
	var fields fieldList
	for sf := range t.Fields() {
		tag, tagged := sf.Tag.Lookup("yaml")
		if !tagged || tag == "-" {
			continue
		}
		key, options, _ := strings.Cut(tag, ",")
		if options == "inline" {
			for _, f := range fieldsOf(sf.Type) {
				f.index = slices.Concat(sf.Index, f.index)
				fields = append(fields, f)
			}
			continue
		}
		if slices.Contains(unsupported, key) {
			continue
		}
		fields = append(fields, field{key: key, index: sf.Index, omitEmpty: options == "omitempty"})
	}
	return fields
}

// String returns the keys, separated by commas.
func (l fieldList) String() string {
	keys := make([]string, len(l))
	for i, f := range l {
		keys[i] = f.key
	}
	return strings.Join(keys, ", ")
}
