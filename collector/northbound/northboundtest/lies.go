package northboundtest

import (
	"net/url"
	"strconv"
)

// lies are departures from every version of the documents.
type lies struct {
	noTotalCount bool
	totalCount   func(asked url.Values, total int) int
	rows         []func(asked url.Values, rows []int) []int
}

// LieNoTotalCount leaves totalCount out of the answers of taskDetails.
func LieNoTotalCount() Option {
	return func(o *options) { o.lies.noTotalCount = true }
}

// LieTotalCount sends lie(asked, total) in place of the true totalCount of
// taskDetails. asked are the query parameters. lie runs under the platform's
// lock and must not call its methods.
func LieTotalCount(lie func(asked url.Values, total int) int) Option {
	return func(o *options) { o.lies.totalCount = lie }
}

// LieRows sends other rows of the task than those that belong on the page: rows
// and the result of lie are positions in the task, and a position may stand
// there several times. asked are the query parameters. lie runs under the
// platform's lock and must not call its methods.
func LieRows(lie func(asked url.Values, rows []int) []int) Option {
	return func(o *options) { o.lies.rows = append(o.lies.rows, lie) }
}

// LieDuplicateRows sends every row of a page twice.
func LieDuplicateRows() Option {
	return LieRows(func(_ url.Values, rows []int) []int {
		twice := make([]int, 0, 2*len(rows))
		for _, i := range rows {
			twice = append(twice, i, i)
		}
		return twice
	})
}

// LieEmptyPage sends no rows on the page with this pageNo.
func LieEmptyPage(pageNo int) Option {
	return LieRows(func(asked url.Values, rows []int) []int {
		if asked.Get("pageNo") == strconv.Itoa(pageNo) {
			return nil
		}
		return rows
	})
}
