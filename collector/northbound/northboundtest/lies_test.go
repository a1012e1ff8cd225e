package northboundtest_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func TestLies(t *testing.T) {
	total := func(n int) *int { return &n }
	for name, tt := range map[string]struct {
		lie       nt.Option
		query     string
		want      []int
		wantTotal *int
	}{
		"no totalCount": {nt.LieNoTotalCount(), "&pageSize=2", []int{1, 2}, nil},
		"wrong totalCount": {
			nt.LieTotalCount(func(asked url.Values, total int) int { return total + len(asked.Get("status")) }),
			"&pageSize=2&status=Fail",
			[]int{1, 2},
			total(9),
		},
		"duplicates": {nt.LieDuplicateRows(), "&pageNo=1&pageSize=2", []int{3, 3, 4, 4}, total(5)},
		"empty page": {nt.LieEmptyPage(1), "&pageNo=1&pageSize=2", []int{}, total(5)},
		"not empty":  {nt.LieEmptyPage(1), "&pageNo=0&pageSize=2", []int{1, 2}, total(5)},
		"other rows": {
			nt.LieRows(func(_ url.Values, rows []int) []int { return append(rows, 4, 0) }),
			"&pageNo=1&pageSize=2",
			[]int{3, 4, 5, 1},
			total(5),
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := registration(newPlatform(tt.lie), 5, nt.Subtask{Status: nt.Fail})
			d := mustQuery(t, p, tt.query)
			if diff := cmp.Diff(tt.want, d.indices(t)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantTotal, d.TotalCount); diff != "" {
				t.Errorf("totalCount (-want +got):\n%s", diff)
			}
			if got := p.Truth(taskID).Total; got != 5 {
				t.Errorf("the truth is %d, want 5", got)
			}
		})
	}
}
