package northboundtest

import "time"

// taskSummary answers GET /iocm/app/batchtask/v1.1.0/tasks/{taskId}. The
// documents do not say when 400/100019 comes; here, for an unknown select.
func (p *Platform) taskSummary(r *request) (any, *refusal) {
	if p.opts.noTaskSummary {
		return nil, errNoSuchOperation
	}
	a, no := p.authenticate(r)
	if no != nil {
		return nil, no
	}
	v := &parameters{Values: r.URL.Query()}
	owner, selected := v.text("appId"), v.text("select")
	switch {
	case v.invalid:
		return nil, errInput
	case selected != "" && selected != "tag":
		return nil, errIllegalRequest
	}
	t, no := p.visible(a, owner, r.PathValue("taskId"))
	if no != nil {
		return nil, no
	}
	t.prepare()
	s := p.summary(t, r.now.Sub(t.Start)-p.opts.counterLag, p.opts.expiredApart)
	if selected == "tag" {
		s.Tags = t.Tags
	}
	return s, nil
}

// summary is a task as a whole on the wire. Progress and success rate are per
// mille: of all subtasks, and of the completed ones.
type summary struct {
	TaskID      string `json:"taskId"`
	TaskName    string `json:"taskName"`
	AppID       string `json:"appId"`
	Operator    string `json:"operator"`
	TaskFrom    string `json:"taskFrom"`
	TaskType    string `json:"taskType"`
	Status      string `json:"status"`
	StartTime   string `json:"startTime"`
	Timeout     int    `json:"timeout"`
	Progress    int    `json:"progress"`
	TotalCnt    int    `json:"totalCnt"`
	SuccessCnt  int    `json:"successCnt"`
	FailCnt     int    `json:"failCnt"`
	TimeoutCnt  int    `json:"timeoutCnt"`
	ExpiredCnt  int    `json:"expiredCnt"`
	CompleteCnt int    `json:"completeCnt"`
	SuccessRate int    `json:"successRate"`
	Param       any    `json:"param"`
	Tags        any    `json:"tags,omitempty"`
}

func (p *Platform) summary(t *task, elapsed time.Duration, expiredApart bool) summary {
	truth := p.truth(t, Filter{}, elapsed)
	s := summary{
		TaskID:     t.ID,
		TaskName:   t.Name,
		AppID:      t.AppID,
		Operator:   t.Operator,
		TaskFrom:   t.From,
		TaskType:   t.Type,
		Status:     t.Status,
		StartTime:  t.Start.UTC().Format("20060102T150405Z"),
		Timeout:    t.Timeout,
		TotalCnt:   truth.Total,
		SuccessCnt: truth.Statuses[Success],
		FailCnt:    truth.Statuses[Fail],
		TimeoutCnt: truth.Statuses[Timeout],
		Param:      t.Param,
	}
	if expiredApart {
		s.ExpiredCnt = p.expired(t, elapsed)
		s.TimeoutCnt -= s.ExpiredCnt
	}
	s.CompleteCnt = s.SuccessCnt + s.FailCnt + s.TimeoutCnt
	s.Progress = perMille(s.CompleteCnt+s.ExpiredCnt, s.TotalCnt)
	s.SuccessRate = perMille(s.SuccessCnt, s.CompleteCnt)
	if s.Status == "" {
		switch truth.Total {
		case truth.Total - truth.Statuses[Pending] - truth.Statuses[WaitResult]:
			s.Status = "Complete"
		case truth.Statuses[Pending]:
			s.Status = "Pending"
		default:
			s.Status = "Running"
		}
	}
	return s
}

// expired counts the subtasks that timed out before they were sent.
func (p *Platform) expired(t *task, elapsed time.Duration) int {
	n := 0
	for _, i := range p.match(t, Filter{Status: Timeout}, elapsed) {
		if c := t.courses[i]; c.sent >= c.done {
			n++
		}
	}
	return n
}

func perMille(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return part * 1000 / whole
}
