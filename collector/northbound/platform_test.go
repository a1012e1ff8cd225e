package northbound_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// TestWholeTaskOverMutualTLS reads tasks of the simulated platform row by row,
// and compares with what it holds, in each of the ways in which it may answer.
func TestWholeTaskOverMutualTLS(t *testing.T) {
	for name, options := range map[string][]northboundtest.Option{
		"newest documents": nil,
		"numbers as text":  {northboundtest.WithExpiresInAsText(), northboundtest.WithoutRefreshToken()},
		"errors under 200": {northboundtest.WithErrorsUnder200(), northboundtest.WithNumericErrorCodes()},
	} {
		t.Run(name, func(t *testing.T) {
			p := northboundtest.NewServer(append(options, northboundtest.WithClientCertificates(), northboundtest.WithCallLimit(0))...)
			defer p.Close()
			p.AddApplication(northboundtest.App{ID: appID, Secret: secret})
			p.AddApplication(northboundtest.App{ID: "owner", Secret: secret})
			p.AddTask(northboundtest.Task{
				ID: "t", AppID: "owner", Name: "firmware-42", Type: northboundtest.DeviceReg,
				Subtasks: northboundtest.Scripted(1001, 1, northboundtest.Profile{Outcomes: []northboundtest.Outcome{
					{Share: 0.2, Status: northboundtest.Fail, Code: "100428"},
					{Share: 0.1, Status: northboundtest.Timeout},
					{Share: 0.1, Status: northboundtest.WaitResult},
				}}),
			})
			c, err := northbound.NewClient(p.URL, withSecret(), northbound.WithTransport(p.Client().Transport))
			if err != nil {
				t.Fatal(err)
			}

			q := northbound.TaskDetailsQuery{TaskID: "t", AppID: "owner", Page: &northbound.Page{Size: 250}}
			if _, err := c.TaskDetails(t.Context(), q); !errors.Is(err, northbound.ErrNotAuthorized) {
				t.Errorf("not authorized: %v", err)
			}
			p.Authorize("owner", appID)
			got := northboundtest.Truth{Statuses: map[string]int{northboundtest.Pending: 0}, Errors: map[northboundtest.Failure]int{}}
			nodes := map[string]bool{}
			for ; q.Page.No <= 4; q.Page.No++ {
				page, err := c.TaskDetails(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if page.PageNo != q.Page.No || page.PageSize != 250 || page.TotalCount != 1001 {
					t.Errorf("page: %d of %d rows, %d in all", page.PageNo, page.PageSize, page.TotalCount)
				}
				for _, row := range page.Subtasks {
					got.Total++
					got.Statuses[string(row.Status)]++
					nodes[row.Param.NodeID] = true
					if row.Status == northbound.StatusFail || row.Status == northbound.StatusTimeout {
						got.Errors[northboundtest.Failure{Status: string(row.Status), Code: row.Error.Code}]++
					}
				}
			}
			if diff := cmp.Diff(p.Truth("t"), got); diff != "" {
				t.Errorf("(-truth +read):\n%s", diff)
			}
			if len(nodes) != 1001 {
				t.Errorf("%d different nodes", len(nodes))
			}

			task, err := c.Task(t.Context(), northbound.TaskQuery{TaskID: "t", AppID: "owner"})
			if err != nil {
				t.Fatal(err)
			}
			if task.TaskName != "firmware-42" || task.TotalCount != 1001 || task.FailCount != got.Statuses["Fail"] || task.StartTime.IsZero() {
				t.Errorf("task: %+v", task)
			}
			if _, err := c.TaskDetails(t.Context(), northbound.TaskDetailsQuery{TaskID: "gone"}); !errors.Is(err, northbound.ErrTaskNotFound) {
				t.Errorf("unknown task: %v", err)
			}

			stranger, err := northbound.NewClient(p.URL, withSecret(), northbound.WithTransport(&http.Transport{}))
			if err != nil {
				t.Fatal(err)
			}
			var failed *northbound.Error
			if err := stranger.SignIn(t.Context()); !errors.As(err, &failed) || failed.Kind != northbound.KindTLS {
				t.Errorf("without certificates: %v", err)
			}
		})
	}
}

// Two programs that sign in as the same application end each other's tokens.
// Neither may spend its calls on signing in.
func TestTwoProgramsShareAnApplicationForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := northboundtest.New(northboundtest.WithCallLimit(0))
		transport, stop := p.PipeTransport()
		defer stop()
		p.AddApplication(northboundtest.App{ID: appID, Secret: secret})
		p.AddTask(northboundtest.Task{ID: "t", AppID: appID})
		one, other := newClient(t, transport), newClient(t, transport)
		for range 24 * 60 * 4 {
			for _, c := range []*northbound.Client{one, other} {
				if err := read(t.Context(), c); err != nil && !errors.Is(err, northbound.ErrTokenInvalid) {
					t.Fatal(err)
				}
			}
			time.Sleep(15 * time.Second)
		}
		calls := slices.DeleteFunc(p.Calls(), func(c northboundtest.Call) bool {
			return !strings.HasPrefix(c.Path, "/iocm/app/sec/")
		})
		// One every five minutes by each, and those before the pauses had grown.
		if len(calls) > 2*(24*12+10) || len(calls) < 24 {
			t.Errorf("%d sign-ins in a day", len(calls))
		}
		if n := one.Session().EarlyDeaths + other.Session().EarlyDeaths; n < 24 {
			t.Errorf("%d early deaths", n)
		}
	})
}

func TestSoleProgramForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := northboundtest.New()
		transport, stop := p.PipeTransport()
		defer stop()
		p.AddApplication(northboundtest.App{ID: appID, Secret: secret})
		p.AddTask(northboundtest.Task{ID: "t", AppID: appID})
		c := newClient(t, transport)
		for range 24 * 60 {
			mustRead(t, c)
			time.Sleep(time.Minute)
		}
		count := map[string]int{}
		for _, call := range p.Calls() {
			count[call.Operation]++
			if call.Status != http.StatusOK {
				t.Errorf("failed: %+v", call)
			}
		}
		want := map[string]int{"login": 1, "refresh_token": 24, "task_details": 24 * 60}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}
