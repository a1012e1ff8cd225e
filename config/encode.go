package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// secretPlaceholder stands for secrets, as everywhere in the ecosystem.
const secretPlaceholder = "<secret>"

// YAML returns the configuration in force: defaults filled in, settings as they
// apply to each application, and <secret> for whatever could be one. The order
// of keys is stable. Tasks from task files are not part of it.
func (c *Config) YAML() ([]byte, error) {
	node, err := encode(reflect.ValueOf(c).Elem())
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	var buf bytes.Buffer
	encoder := yaml.NewEncoder(&buf)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	return buf.Bytes(), nil
}

// encode is the counterpart of decode: it knows the same types.
func encode(v reflect.Value) (*yaml.Node, error) {
	switch x := v.Interface().(type) {
	case commoncfg.Secret:
		return scalar(secretPlaceholder)
	case time.Duration:
		return scalar(model.Duration(x).String())
	case commoncfg.TLSVersion:
		return scalar(x.String())
	case commoncfg.URL:
		return scalar(redact(x))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			item, err := encode(v.Index(i))
			if err != nil {
				return nil, err
			}
			list.Content = append(list.Content, item)
		}
		return list, nil
	case reflect.Map:
		mapping := &yaml.Node{Kind: yaml.MappingNode}
		items := make(map[string]reflect.Value, v.Len())
		for key, item := range v.Seq2() {
			items[key.String()] = item
		}
		for _, key := range slices.Sorted(maps.Keys(items)) {
			if err := appendEntry(mapping, key, items[key]); err != nil {
				return nil, err
			}
		}
		return mapping, nil
	case reflect.Struct:
		mapping := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fieldsOf(v.Type()) {
			item := v.FieldByIndex(f.index)
			if f.omitEmpty && isEmpty(item) {
				continue
			}
			if err := appendEntry(mapping, f.key, item); err != nil {
				return nil, err
			}
		}
		return mapping, nil
	default:
		return scalar(v.Interface())
	}
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

func appendEntry(mapping *yaml.Node, key string, value reflect.Value) error {
	k, err := scalar(key)
	if err != nil {
		return err
	}
	v, err := encode(value)
	if err != nil {
		return err
	}
	mapping.Content = append(mapping.Content, k, v)
	return nil
}

func scalar(value any) (*yaml.Node, error) {
	node := new(yaml.Node)
	err := node.Encode(value)
	return node, err
}

// redact returns what a proxy's URL tells without its user and password. Path
// and query have no meaning for a proxy and are left out.
func redact(u commoncfg.URL) string {
	if u.User != nil {
		return u.Scheme + "://" + secretPlaceholder + "@" + u.Host
	}
	return u.Scheme + "://" + u.Host
}
