package census

import (
	"context"
	"errors"
	"fmt"

	"huawei_iot_batch_exporter/collector/northbound"
)

// page asks for one page of the rows in a status; the empty status means all
// that match the query.
func (c *Census) page(ctx context.Context, p Platform, status northbound.Status, no, size int) (*northbound.TaskDetails, error) {
	q := c.query
	q.Status = status
	q.Page = &northbound.Page{No: no, Size: size}
	d, err := p.TaskDetails(ctx, q)
	if err != nil {
		return nil, err
	}
	if d.TotalCount < 0 {
		return nil, fmt.Errorf("%w: without totalCount an answer does not tell whether it is all", ErrContradiction)
	}
	return d, nil
}

// fullPage asks for a page of the largest size. A platform may refuse the size,
// with the code of any invalid input, or send fewer rows without a word.
func (c *Census) fullPage(ctx context.Context, p Platform, status northbound.Status, no int) (*northbound.TaskDetails, error) {
	size := c.rowsPerPage()
	start := no == 0 && (status == "" || !c.wholeTask()) // of the list of all that is counted
	if start {
		size = c.traits.pageSize(c.settings.PageSize)
	}
	d, err := c.page(ctx, p, status, no, size)
	switch {
	case err == nil:
		c.traits.accept(size)
	case errors.Is(err, northbound.ErrInvalidInput) && !c.traits.accepts(size):
		// Is it the size that is refused, or the task? A smaller page tells; to
		// learn that it is the task does not have to cost that much each time.
		try := c.refused%auditEvery == 0
		c.refused++
		if try {
			size, d, err = c.smallerPage(ctx, p, status, size, err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.refused = 0
	if start {
		c.pageRows = 0
		if rows := len(d.Subtasks); rows < min(size, d.TotalCount) && (rows >= minClamp || rows == d.PageSize) {
			c.pageRows = rows // believe the rows that came, not the size asked for
		}
	}
	return d, nil
}

func (c *Census) smallerPage(ctx context.Context, p Platform, status northbound.Status, size int, refusal error) (int, *northbound.TaskDetails, error) {
	for _, smaller := range [...]int{250, 100, 25} {
		if smaller >= size {
			continue
		}
		d, err := c.page(ctx, p, status, 0, smaller)
		if err == nil {
			c.traits.refuse(size, smaller)
			return smaller, d, nil
		}
		if !errors.Is(err, northbound.ErrInvalidInput) {
			return 0, nil, err
		}
	}
	return 0, nil, refusal
}

// rowsPerPage is the number of rows to ask for, and to expect.
func (c *Census) rowsPerPage() int {
	if c.pageRows > 0 {
		return c.pageRows
	}
	return c.traits.pageSize(c.settings.PageSize)
}

func (c *Census) pages(rows int) int {
	return pages(rows, c.rowsPerPage())
}

func pages(rows, size int) int {
	return max(1, (rows+size-1)/size)
}
