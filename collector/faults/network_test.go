package faults

import "testing"

// TestNetwork: what can happen between the exporter and the platform.
func TestNetwork(t *testing.T) {
	inRealTime(t, []realFault{
		{
			fault: fault{name: "connections refused", hits: application, mayCount: []string{"task_details connection"}},
			begin: func(w *realWorld) { w.proxy.Stop() },
			end: func(w *realWorld) {
				if err := w.proxy.Start(); err != nil {
					panic(err)
				}
			},
		},
	})
}
