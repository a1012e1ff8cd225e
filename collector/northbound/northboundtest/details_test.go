package northboundtest_test

import (
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// registration is a task with n rows; the first has index 1.
func registration(p *nt.Platform, n int, s nt.Subtask) *nt.Platform {
	p.AddTask(nt.Task{ID: taskID, AppID: fleet, Type: nt.DeviceReg, Subtasks: nt.Uniform(n, s)})
	return p
}

func TestFilters(t *testing.T) {
	p := withTask(newPlatform(), nt.Rows{
		{Status: nt.Pending, DeviceID: "d1", CommandID: "c1"},
		{Status: nt.WaitResult, DeviceID: "d2", CommandID: "c2"},
		{Status: nt.Success, DeviceID: "d1", CommandID: "c3"},
		{Status: nt.Fail, Code: "100428", DeviceID: "d&=1", CommandID: "c4"},
		{Status: nt.Timeout, NodeID: "n1", Index: 7},
		{Status: "Suspended", NodeID: "n1", Index: 8},
	})
	for name, tt := range map[string]struct {
		query string
		want  []string
	}{
		"none":               {"", []string{"Pending", "WaitResult", "Success", "Fail", "Timeout", "Suspended"}},
		"Pending":            {"&status=Pending", []string{"Pending"}},
		"WaitResult":         {"&status=WaitResult", []string{"WaitResult"}},
		"Success":            {"&status=Success", []string{"Success"}},
		"Fail":               {"&status=Fail", []string{"Fail"}},
		"Timeout":            {"&status=Timeout", []string{"Timeout"}},
		"deviceId":           {"&deviceId=d1", []string{"Pending", "Success"}},
		"deviceId, escaped":  {"&deviceId=" + url.QueryEscape("d&=1"), []string{"Fail"}},
		"commandId":          {"&commandId=c2", []string{"WaitResult"}},
		"nodeId":             {"&nodeId=n1", []string{"Timeout", "Suspended"}},
		"index":              {"&index=7", []string{"Timeout"}},
		"several":            {"&deviceId=d1&status=Success", []string{"Success"}},
		"several, no match":  {"&deviceId=d1&status=Fail", []string{}},
		"nothing of that ID": {"&deviceId=d9", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			all := mustQuery(t, p, tt.query)
			if diff := cmp.Diff(tt.want, all.statuses(t)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if *all.TotalCount != len(tt.want) {
				t.Errorf("totalCount: got %d, want %d", *all.TotalCount, len(tt.want))
			}
			if one := mustQuery(t, p, tt.query+"&pageNo=0&pageSize=1"); *one.TotalCount != len(tt.want) {
				t.Errorf("totalCount on a page of one: got %d, want %d", *one.TotalCount, len(tt.want))
			}
		})
	}
}

func TestAnswerWithoutRowsHasAnEmptyList(t *testing.T) {
	a := query(t, withTask(newPlatform(), nil), "")
	want := `{"pageNo":0,"pageSize":25,"totalCount":0,"taskDetails":[]}`
	if diff := cmp.Diff(want, a.Body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestPaging(t *testing.T) {
	type page struct{ No, Size, First, Last, Rows int }
	for name, tt := range map[string]struct {
		opts  []nt.Option
		query string
		want  page // Rows -1: refused with 400/100022
	}{
		"first":                     {nil, "&pageNo=0&pageSize=100", page{0, 100, 1, 100, 100}},
		"second":                    {nil, "&pageNo=1&pageSize=100", page{1, 100, 101, 200, 100}},
		"last, not full":            {nil, "&pageNo=6&pageSize=100", page{6, 100, 601, 610, 10}},
		"last, full":                {nil, "&pageNo=60&pageSize=10", page{60, 10, 601, 610, 10}},
		"just after the last":       {nil, "&pageNo=61&pageSize=10", page{No: 61, Size: 10}},
		"after the last":            {nil, "&pageNo=7&pageSize=100", page{No: 7, Size: 100}},
		"far after the last":        {nil, "&pageNo=9223372036854775807&pageSize=100", page{No: 9223372036854775807, Size: 100}},
		"largest":                   {nil, "&pageNo=0&pageSize=250", page{0, 250, 1, 250, 250}},
		"too large":                 {nil, "&pageNo=0&pageSize=251", page{Rows: -1}},
		"clamped":                   {[]nt.Option{nt.WithPageSizeClamped()}, "&pageNo=1&pageSize=500", page{1, 250, 251, 500, 250}},
		"clamped silently":          {[]nt.Option{nt.WithPageSizeClampedSilently()}, "&pageNo=1&pageSize=500", page{1, 500, 251, 500, 250}},
		"clamped, not too large":    {[]nt.Option{nt.WithPageSizeClamped()}, "&pageNo=1&pageSize=5", page{1, 5, 6, 10, 5}},
		"another maximum":           {[]nt.Option{nt.WithMaxPageSize(10)}, "&pageNo=0&pageSize=11", page{Rows: -1}},
		"no maximum":                {[]nt.Option{nt.WithMaxPageSize(0)}, "&pageNo=0&pageSize=500", page{0, 500, 1, 500, 500}},
		"no maximum, overflow":      {[]nt.Option{nt.WithMaxPageSize(0)}, "&pageNo=0&pageSize=9223372036854775807", page{0, 9223372036854775807, 1, 610, 610}},
		"no pageSize":               {nil, "&pageNo=1", page{1, 25, 26, 50, 25}},
		"no pageSize, default 1":    {[]nt.Option{nt.WithDefaultPageSize(1)}, "&pageNo=1", page{1, 1, 2, 2, 1}},
		"no pageNo":                 {nil, "&pageSize=5", page{0, 5, 1, 5, 5}},
		"neither":                   {nil, "", page{0, 25, 1, 25, 25}},
		"unpaged, neither":          {[]nt.Option{nt.WithUnpagedByDefault()}, "", page{0, 610, 1, 610, 610}},
		"unpaged, pageSize":         {[]nt.Option{nt.WithUnpagedByDefault()}, "&pageSize=5", page{0, 610, 1, 610, 610}},
		"unpaged, huge pageSize":    {[]nt.Option{nt.WithUnpagedByDefault()}, "&pageSize=500", page{0, 610, 1, 610, 610}},
		"unpaged but with a pageNo": {[]nt.Option{nt.WithUnpagedByDefault()}, "&pageNo=0&pageSize=5", page{0, 5, 1, 5, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			p := registration(newPlatform(tt.opts...), 610, nt.Subtask{Status: nt.Success})
			a := query(t, p, tt.query)
			if tt.want.Rows == -1 {
				if got, want := refusal(t, a), `Bad Request "100022"`; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				return
			}
			d := decode[details](t, a)
			got := page{No: d.PageNo, Size: d.PageSize, Rows: len(d.TaskDetails)}
			if indices := d.indices(t); len(indices) > 0 {
				got.First, got.Last = indices[0], indices[len(indices)-1]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			if *d.TotalCount != 610 {
				t.Errorf("totalCount: got %d, want 610", *d.TotalCount)
			}
		})
	}
}

func TestInvalidParameters(t *testing.T) {
	p := withTask(newPlatform(), nil)
	token := signIn(t, p, fleet).AccessToken
	for _, q := range []string{
		"",
		"taskId=",
		"taskId=x&pageNo=-1",
		"taskId=x&pageNo=one",
		"taskId=x&pageNo=",
		"taskId=x&pageNo=1.5",
		"taskId=x&pageSize=0",
		"taskId=x&pageSize=-5",
		"taskId=x&pageSize=",
		"taskId=x&pageSize=99999999999999999999",
		"taskId=x&status=",
		"taskId=x&status=success",
		"taskId=x&status=Done",
		"taskId=x&index=",
		"taskId=x&index=first",
		"taskId=x&deviceId=",
		"taskId=x&commandId=",
		"taskId=x&nodeId=",
		"taskId=x&appId=",
	} {
		t.Run(q, func(t *testing.T) {
			a := get(t, p, fleet, token, nt.TaskDetailsPath, q)
			if got, want := refusal(t, a), `Bad Request "100022"`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestWaitResultFilterRefused(t *testing.T) {
	p := withTask(newPlatform(nt.WithoutWaitResultFilter()), nt.Uniform(1, nt.Subtask{Status: nt.WaitResult}))
	if got, want := refusal(t, query(t, p, "&status=WaitResult")), `Bad Request "100022"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if diff := cmp.Diff([]string{nt.WaitResult}, mustQuery(t, p, "").statuses(t)); diff != "" {
		t.Errorf("rows without a filter (-want +got):\n%s", diff)
	}
}

func TestOwners(t *testing.T) {
	p := newPlatform()
	p.AddApplication(nt.App{ID: "thirdApp", Secret: secret})
	p.AddTask(nt.Task{ID: "mine", AppID: fleet})
	p.AddTask(nt.Task{ID: "theirs", AppID: other})
	p.AddTask(nt.Task{ID: "closed", AppID: "thirdApp"})
	p.Authorize(other, fleet)
	token := signIn(t, p, fleet).AccessToken
	for name, tt := range map[string]struct{ task, owner, want string }{
		"own":                             {"mine", "", "OK"},
		"own, named":                      {"mine", fleet, "OK"},
		"unknown task":                    {"none", "", `Not Found "105005"`},
		"another's without its name":      {"theirs", "", `Not Found "105005"`},
		"another's, authorized":           {"theirs", other, "OK"},
		"own, under another's name":       {"mine", other, `Not Found "105005"`},
		"another's, not authorized":       {"closed", "thirdApp", `Forbidden "100217"`},
		"another's, of an unknown one":    {"closed", "nobody", `Forbidden "100203"`},
		"another's, under a third's name": {"closed", other, `Not Found "105005"`},
	} {
		t.Run(name, func(t *testing.T) {
			owner := ""
			if tt.owner != "" {
				owner = "appId=" + tt.owner
			}
			details := get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+tt.task+"&"+owner)
			summary := get(t, p, fleet, token, nt.TasksPath+tt.task, owner)
			for call, a := range map[string]answer{"taskDetails": details, "tasks": summary} {
				if got := refusal(t, a); got != tt.want {
					t.Errorf("%s: got %s, want %s", call, got, tt.want)
				}
			}
		})
	}

	t.Run("an authorization has one direction", func(t *testing.T) {
		token := signIn(t, p, other).AccessToken
		a := get(t, p, other, token, nt.TaskDetailsPath, "taskId=mine&appId="+fleet)
		if got, want := refusal(t, a), `Forbidden "100217"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestFormOfErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		opts        []nt.Option
		query, want string
	}{
		"default":             {nil, "&pageNo=x", `Bad Request "100022"`},
		"under 200":           {[]nt.Option{nt.WithErrorsUnder200()}, "&pageNo=x", `OK "100022"`},
		"number":              {[]nt.Option{nt.WithNumericErrorCodes()}, "&pageNo=x", `Bad Request 100022`},
		"unknown application": {[]nt.Option{nt.WithUnknownApplicationAs500()}, "&appId=nobody", `Internal Server Error "100203"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := query(t, withTask(newPlatform(tt.opts...), nil), tt.query)
			if got := refusal(t, a); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if decode[map[string]any](t, a)["error_desc"] == "" {
				t.Error("error_desc is empty")
			}
		})
	}
}

func TestRowOrder(t *testing.T) {
	rows := nt.Rows{
		{Index: 1, Status: nt.Fail, Done: 30 * time.Second},
		{Index: 2, Status: nt.Success, Done: 10 * time.Second},
		{Index: 3, Status: nt.Success, Done: time.Hour},
		{Index: 4, Status: nt.Timeout, Done: 20 * time.Second},
		{Index: 5, Status: nt.Pending},
		{Index: 6, Status: nt.Success, Done: 10 * time.Second},
	}
	for name, tt := range map[string]struct {
		order nt.RowOrder
		want  []int
	}{
		"by position":  {nt.ByPosition, []int{1, 2, 3, 4, 5, 6}},
		"newest first": {nt.NewestFinishedFirst, []int{1, 4, 2, 6, 3, 5}},
		"oldest first": {nt.OldestFinishedFirst, []int{2, 6, 4, 1, 3, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withTask(newPlatform(nt.WithRowOrder(tt.order)), rows)
				time.Sleep(time.Minute)
				if diff := cmp.Diff(tt.want, mustQuery(t, p, "").indices(t)); diff != "" {
					t.Errorf("order (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestShuffledRows(t *testing.T) {
	run := func(seed uint64) [2][]int {
		p := registration(newPlatform(nt.WithShuffledRows(seed)), 100, nt.Subtask{Status: nt.Success})
		return [2][]int{mustQuery(t, p, "&pageSize=100").indices(t), mustQuery(t, p, "&pageSize=100").indices(t)}
	}
	first := run(1)
	if slices.Equal(first[0], first[1]) {
		t.Error("two calls had the same order")
	}
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Errorf("the same seed gave other orders (-first +second):\n%s", diff)
	}
	if slices.Equal(first[0], run(2)[0]) {
		t.Error("another seed gave the same order")
	}
	slices.Sort(first[0])
	if len(slices.Compact(first[0])) != 100 {
		t.Error("rows are missing")
	}
}
