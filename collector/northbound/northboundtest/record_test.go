package northboundtest_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := withTask(newPlatform(), nt.Uniform(3, nt.Subtask{Status: nt.Success}))
		start := time.Now()
		var sent []int64
		note := func(a answer) { sent = append(sent, int64(len(a.Body))) }

		k := login(t, p, fleet)
		note(k)
		time.Sleep(time.Second)
		token := decode[tokens](t, k).AccessToken
		note(get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+taskID+"&pageSize=2"))
		note(get(t, p, fleet, token, nt.TasksPath+taskID, ""))
		note(get(t, p, fleet, token, nt.TaskDetailsPath, "taskId=none"))
		note(refresh(t, p, "guess"))
		note(get(t, p, "", "", "/favicon.ico", ""))

		want := []nt.Call{
			{Method: "POST", Path: nt.LoginPath, AppID: fleet, Operation: nt.OperationLogin, Status: 200},
			{Method: "GET", Path: nt.TaskDetailsPath, RawQuery: "taskId=" + taskID + "&pageSize=2", AppID: fleet, Operation: nt.OperationTaskDetails, Status: 200, Rows: 2},
			{Method: "GET", Path: nt.TasksPath + taskID, AppID: fleet, Operation: nt.OperationTask, Status: 200},
			{Method: "GET", Path: nt.TaskDetailsPath, RawQuery: "taskId=none", AppID: fleet, Operation: nt.OperationTaskDetails, Status: 404, ErrorCode: "105005"},
			{Method: "POST", Path: nt.RefreshTokenPath, AppID: fleet, Operation: nt.OperationRefreshToken, Status: 400, ErrorCode: "50400"},
			{Method: "GET", Path: "/favicon.ico", Status: 404},
		}
		for i := range want {
			want[i].Time, want[i].Bytes = start.Add(time.Second), sent[i]
		}
		want[0].Time = start
		got := p.Calls()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if size := got[1].Query().Get("pageSize"); size != "2" {
			t.Errorf("pageSize: got %q, want 2", size)
		}
	})
}

func TestMiddleware(t *testing.T) {
	var order []string
	named := func(name string) nt.Option {
		return nt.WithMiddleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				next.ServeHTTP(w, r)
			})
		})
	}
	proxy := nt.WithMiddleware(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<html>"))
		})
	})
	p := newPlatform(named("first"), named("second"))
	signIn(t, p, fleet)
	p.Set(proxy)
	login(t, p, fleet)
	if diff := cmp.Diff([]string{"first", "second", "first", "second"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	c := p.Calls()[1]
	c.Time = time.Time{}
	want := nt.Call{Method: "POST", Path: nt.LoginPath, AppID: fleet, Operation: nt.OperationLogin, Status: 502, Bytes: 6}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("a call that middleware answered (-want +got):\n%s", diff)
	}
}

func TestCutCallsAreRecorded(t *testing.T) {
	for name, cut := range map[string]http.HandlerFunc{
		"abort": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hijack": func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = c.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(nt.WithMiddleware(func(http.Handler) http.Handler { return cut }))
			transport, stop := p.PipeTransport()
			defer stop()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://platform"+nt.TaskDetailsPath, nil)
			if res, err := transport.RoundTrip(r); err == nil {
				_ = res.Body.Close()
				t.Fatalf("got %s, want an error", res.Status)
			}
			if c := p.Calls(); len(c) == 0 || c[0].Status != 0 {
				t.Errorf("got %+v, want calls with status 0", c)
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	p := withTask(newPlatform(nt.WithCallLimit(0)), nt.Uniform(100, nt.Subtask{Status: nt.Pending}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			token := p.StealToken(fleet)
			for range 20 {
				get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+taskID)
				p.SetStatus(taskID, i, nt.Fail, "100428")
				p.Set(nt.WithRowOrder(nt.NewestFinishedFirst))
				p.Calls()
				p.Spend(fleet, 1)
				p.MaxCallsIn(time.Minute)
			}
		})
	}
	wg.Wait()
	if got := p.Truth(taskID).Statuses[nt.Fail]; got != 8 {
		t.Errorf("%d failed, want 8", got)
	}
	if got := len(p.Calls()); got != 160 {
		t.Errorf("%d calls, want 160", got)
	}
}
