package northboundtest

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// taskDetails answers GET /iocm/app/batchtask/v1.1.0/taskDetails.
func (p *Platform) taskDetails(r *request) (any, *refusal) {
	a, no := p.authenticate(r)
	if no != nil {
		return nil, no
	}
	asked := r.URL.Query()
	q, no := parseDetails(asked, &p.opts)
	if no != nil {
		return nil, no
	}
	t, no := p.visible(a, q.appID, q.taskID)
	if no != nil {
		return nil, no
	}
	t.prepare()
	elapsed := r.now.Sub(t.Start)
	rows := p.match(t, q.filter, elapsed)
	p.sort(rows, t, elapsed)
	total := len(rows)
	if q.unpaged {
		q.statedSize = total
	} else {
		rows = q.page(rows)
	}
	return p.details(asked, q, t, rows, total, r.note, elapsed), nil
}

// details is the answer, after the lies.
func (p *Platform) details(asked url.Values, q detailsQuery, t *task, rows []int, total int, n *note, elapsed time.Duration) any {
	type answer struct {
		PageNo      int   `json:"pageNo"`
		PageSize    int   `json:"pageSize"`
		TotalCount  *int  `json:"totalCount,omitempty"`
		TaskDetails []any `json:"taskDetails"`
	}
	lies := p.opts.lies
	if lies.totalCount != nil {
		total = lies.totalCount(asked, total)
	}
	for _, lie := range lies.rows {
		rows = lie(asked, rows)
	}
	n.rows = len(rows)
	d := answer{PageNo: q.pageNo, PageSize: q.statedSize, TotalCount: &total, TaskDetails: make([]any, len(rows))}
	if lies.noTotalCount {
		d.TotalCount = nil
	}
	for k, i := range rows {
		d.TaskDetails[k] = t.row(i, elapsed)
	}
	return d
}

// detailsQuery are the parameters of taskDetails.
type detailsQuery struct {
	appID, taskID string
	filter        Filter
	unpaged       bool
	pageNo        int
	pageSize      int
	statedSize    int // pageSize in the answer
}

// page cuts out the rows of the page.
func (q *detailsQuery) page(rows []int) []int {
	if q.pageNo > len(rows)/q.pageSize { // also keeps the product from overflowing
		return nil
	}
	begin := q.pageNo * q.pageSize
	return rows[begin:min(begin+min(q.pageSize, len(rows)), len(rows))]
}

// parameters reads a query. A parameter that is there but empty, or not what it
// should be, is invalid.
type parameters struct {
	url.Values
	invalid bool
}

func (v *parameters) text(name string) string {
	if v.Has(name) && v.Get(name) == "" {
		v.invalid = true
	}
	return v.Get(name)
}

// number is a parameter of at least least, or absent where it is missing.
func (v *parameters) number(name string, least, absent int) int {
	if !v.Has(name) {
		return absent
	}
	n, err := strconv.Atoi(v.Get(name))
	if err != nil || n < least {
		v.invalid = true
		return absent
	}
	return n
}

func parseDetails(asked url.Values, o *options) (detailsQuery, *refusal) {
	v := &parameters{Values: asked}
	q := detailsQuery{
		appID:  v.text("appId"),
		taskID: v.text("taskId"),
		filter: Filter{
			Status:    v.text("status"),
			NodeID:    v.text("nodeId"),
			DeviceID:  v.text("deviceId"),
			CommandID: v.text("commandId"),
		},
		unpaged:  o.unpagedByDefault && !v.Has("pageNo"),
		pageNo:   v.number("pageNo", 0, 0),
		pageSize: v.number("pageSize", 1, o.defaultPageSize),
	}
	if v.Has("index") {
		q.filter.Index = new(v.number("index", math.MinInt, 0))
	}
	if q.taskID == "" || v.invalid || !o.filterable(q.filter.Status) {
		return q, errInput
	}
	q.statedSize = q.pageSize
	if o.maxPageSize > 0 && q.pageSize > o.maxPageSize && !q.unpaged {
		switch o.oversize {
		case oversizeRefused:
			return q, errInput
		case oversizeClamped:
			q.statedSize = o.maxPageSize
		}
		q.pageSize = o.maxPageSize
	}
	return q, nil
}

// filterable tells whether the platform knows a status as a filter.
func (o *options) filterable(status string) bool {
	if status == WaitResult && o.refuseWaitResult {
		return false
	}
	return status == "" || slices.Contains(statuses, status)
}

// sort brings positions, which come ascending, into the platform's order.
func (p *Platform) sort(rows []int, t *task, elapsed time.Duration) {
	// rank is the time of the finish; the unfinished come last.
	rank := func(i int, sign time.Duration) time.Duration {
		if !t.finished(i, elapsed) {
			return math.MaxInt64
		}
		return sign * t.courses[i].done
	}
	by := func(sign time.Duration) func(i, j int) int {
		return func(i, j int) int {
			return cmp.Or(cmp.Compare(rank(i, sign), rank(j, sign)), cmp.Compare(i, j))
		}
	}
	switch p.opts.order {
	case OldestFinishedFirst:
		slices.SortFunc(rows, by(1))
	case NewestFinishedFirst:
		slices.SortFunc(rows, by(-1))
	case shuffled:
		p.shuffles++
		shuffle(rows, p.opts.shuffleSeed+p.shuffles<<32)
	}
}
