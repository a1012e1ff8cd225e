package faults

import (
	"fmt"
	"testing"
)

// TestRefusals: the platform refuses to tell of one task, in every documented way.
func TestRefusals(t *testing.T) {
	var faults []fault
	for _, refusal := range []struct {
		status int
		code   string
	}{
		{400, "100022"}, {403, "100203"}, {403, "100217"}, {404, "105005"}, {500, "100203"}, {500, "50252"}, {418, "9999999"},
	} {
		for _, status := range []int{refusal.status, 200} {
			faults = append(faults, fault{
				name:    fmt.Sprintf("%d/%s under %d", refusal.status, refusal.code, status),
				begin:   toVictim(refuses(status, refusal.code)),
				hits:    oneTask,
				counted: []string{fmt.Sprintf("task_details %d %s", status, refusal.code)},
				within:  5 * 60e9,
			})
		}
	}
	inFakeTime(t, faults)
}
