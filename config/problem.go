package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	return strings.ReplaceAll(text, "\n", " ")
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

// problems gathers the complaints about one file.
type problems struct {
	index
	list []*Problem
}

// complain reports what is wrong with the key at path.
func (p *problems) complain(path, format string, args ...any) {
	p.list = append(p.list, p.problem(path, fmt.Errorf(format, args...)))
}

// err joins the complaints in the order of their lines.
func (p *problems) err() error {
	slices.SortStableFunc(p.list, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(p.list))
	for i, problem := range p.list {
		errs[i] = problem
	}
	return errors.Join(errs...)
}
