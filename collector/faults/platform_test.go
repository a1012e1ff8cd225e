package faults

import (
	"fmt"
	"testing"
	"time"
)

// TestRefusals: the platform refuses to tell of one task, in every documented
// way and in one that is not; under the documented HTTP status and under 200;
// with the code as text and as a number.
func TestRefusals(t *testing.T) {
	var faults []fault
	for _, refusal := range []struct {
		status int
		code   string
		within time.Duration // half as long as it was refused; then it is asked again
	}{
		{400, "100022", time.Minute},
		{403, "100203", time.Minute},
		{403, "100217", time.Minute},
		{404, "105005", time.Minute},
		{500, "100203", time.Minute},
		{500, "50252", 0},
		{409, "9999999", 0},
	} {
		for _, status := range []int{refusal.status, 200} {
			counted := fmt.Sprintf("task_details %d %s", status, refusal.code)
			faults = append(faults, fault{
				name: fmt.Sprintf("%s under %d", refusal.code, status), hits: oneTask, counted: []string{counted}, within: refusal.within,
				begin: toVictim(refuses(status, refusal.code)),
			}, fault{
				name: fmt.Sprintf("%s under %d as a number", refusal.code, status), hits: oneTask, counted: []string{counted}, within: refusal.within,
				begin: toVictim(says(status, "application/json", `{"error_code":`+refusal.code+`}`)),
			})
		}
	}
	inFakeTime(t, faults)
}
