package census

import (
	"testing"

	"huawei_iot_batch_exporter/collector/northbound"
)

func TestWitnessVouches(t *testing.T) {
	totals := func(success, fail, timeout, expired int) *northbound.Task {
		return &northbound.Task{TotalCount: 100, SuccessCount: success, FailCount: fail, TimeoutCount: timeout, ExpiredCount: expired}
	}
	other := func(total int) *northbound.Task {
		task := totals(10, 20, 30, 0)
		task.TotalCount = total
		return task
	}
	r := reading{total: 100, counts: map[northbound.Status]int{
		northbound.StatusSuccess: 10, northbound.StatusFail: 20, northbound.StatusTimeout: 30,
	}}
	for name, test := range map[string]struct {
		before, after   *northbound.Task
		vouches, broken bool
	}{
		"no totals":                       {totals(10, 20, 30, 0), nil, false, false},
		"the same":                        {totals(10, 20, 30, 0), totals(10, 20, 30, 0), true, false},
		"moved since":                     {totals(10, 20, 30, 0), totals(11, 22, 33, 0), true, false},
		"moved while it was counted":      {totals(9, 19, 29, 0), totals(10, 20, 30, 0), true, false},
		"expired apart":                   {totals(10, 20, 25, 5), totals(10, 20, 25, 5), true, false},
		"success before it was":           {totals(11, 20, 30, 0), totals(11, 20, 30, 0), false, true},
		"success too late":                {totals(9, 20, 30, 0), totals(9, 20, 30, 0), false, true},
		"failure before it was":           {totals(10, 21, 30, 0), totals(10, 21, 30, 0), false, true},
		"failure too late":                {totals(10, 19, 30, 0), totals(10, 19, 30, 0), false, true},
		"timeout before it was":           {totals(10, 20, 31, 0), totals(10, 20, 31, 0), false, true},
		"timeout too late":                {totals(10, 20, 29, 0), totals(10, 20, 29, 0), false, true},
		"other total before":              {other(99), totals(10, 20, 30, 0), false, false},
		"other total after":               {totals(10, 20, 30, 0), other(101), false, false},
		"nothing before, the same":        {nil, totals(10, 20, 30, 0), true, false},
		"nothing before, expired apart":   {nil, totals(10, 20, 28, 2), true, false},
		"nothing before, success moved":   {nil, totals(11, 20, 30, 0), false, false},
		"nothing before, failure moved":   {nil, totals(10, 21, 30, 0), false, false},
		"nothing before, timeout moved":   {nil, totals(10, 20, 31, 0), false, false},
		"nothing before, success is late": {nil, totals(9, 20, 30, 0), false, true},
	} {
		w := witness{statement: test.before, recall: test.after}
		if got := w.vouches(r); got != test.vouches || w.broken != test.broken {
			t.Errorf("%s: vouches %v, broken %v", name, got, w.broken)
		}
	}
}

func TestWitnessMoved(t *testing.T) {
	finals := []northbound.Status{northbound.StatusSuccess, northbound.StatusFail, northbound.StatusTimeout}
	for moved, after := range map[northbound.Status][]northbound.Task{
		"":                       {{}},
		northbound.StatusSuccess: {{SuccessCount: 1}},
		northbound.StatusFail:    {{FailCount: 1}},
		northbound.StatusTimeout: {{TimeoutCount: 1}, {ExpiredCount: 1}, {TimeoutCount: 1, ExpiredCount: 1}},
	} {
		for _, task := range after {
			w := witness{statement: new(northbound.Task), recall: &task}
			for _, status := range finals {
				if got := w.moved(status); got != (status == moved) {
					t.Errorf("%+v: %s moved: %v", task, status, got)
				}
			}
		}
	}
}

func TestWitnessIsWanted(t *testing.T) {
	var w witness
	if !w.wanted() {
		t.Error("not at the beginning")
	}
	w.call(new(northbound.Task))
	if w.wanted() {
		t.Error("twice for one count")
	}
	w.dismiss()
	w.silence()
	for i := range auditEvery {
		if w.wanted() {
			t.Errorf("%d counts after there was no answer", i)
		}
	}
	if !w.wanted() {
		t.Error("not any more after there was no answer")
	}
	w.broken = true
	if w.wanted() {
		t.Error("though they are of no use")
	}
}

func TestPageSizeOfAPlatform(t *testing.T) {
	var traits Traits
	want := func(wanted, size int) {
		t.Helper()
		if got := traits.pageSize(wanted); got != size {
			t.Errorf("%d rows where %d are wanted, want %d", got, wanted, size)
		}
	}
	want(1000, 1000)
	traits.refuse(100, 25)
	want(99, 99)
	want(100, 25)
	traits.refuse(250, 25) // of another task, asked earlier
	want(100, 25)
	traits.refuse(50, 25)
	want(50, 25)
	traits.accept(30)
	want(50, 30)
	if !traits.accepts(30) || traits.accepts(31) {
		t.Error("the largest page that was answered is forgotten")
	}
}
