package main

import (
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// tasks are those that conf/huawei_iot_batch.yml watches, but for the one that
// the platform does not know.
func tasks(now time.Time) []northboundtest.Task {
	return []northboundtest.Task{
		{
			ID: "5bf8f8567dd2d86eab87ed41", AppID: appID, Name: "Firmware 4.1 on all pumps",
			Start: now.Add(-30 * time.Hour),
			Subtasks: northboundtest.Scripted(5000, 41, northboundtest.Profile{
				Duration: 6 * time.Hour,
				Outcomes: []northboundtest.Outcome{
					{Share: 0.012, Status: northboundtest.Fail, Code: "100428"},
					{Share: 0.006, Status: northboundtest.Timeout},
				},
			}),
		},
		{
			ID: "5bf8f8567dd2d86eab87ed42", AppID: appID, Name: "Firmware 4.2 on all pumps",
			Start: now.Add(-time.Hour),
			Subtasks: northboundtest.Scripted(30000, 42, northboundtest.Profile{
				Duration: 13 * time.Hour,
				MaxWait:  20 * time.Minute,
				Outcomes: []northboundtest.Outcome{
					{Share: 0.02, Status: northboundtest.Fail, Code: "100428"},
					{Share: 0.003, Status: northboundtest.Fail, Code: "100501"},
					{Share: 0.01, Status: northboundtest.Timeout},
				},
			}),
		},
		{
			ID: "5bf8f8567dd2d86eab87ed43", AppID: appID, Name: "Meters of the northern plant", Type: northboundtest.DeviceReg,
			Start: now.Add(-10 * time.Minute),
			Subtasks: northboundtest.Scripted(1200, 7, northboundtest.Profile{
				Duration: 2 * time.Hour,
				Outcomes: []northboundtest.Outcome{
					{Share: 0.31, Status: northboundtest.Fail, Code: "100426"},
					{Share: 0.16, Status: northboundtest.Fail, Code: "103028"},
					{Share: 0.02, Status: northboundtest.Fail}, // the platform says no code
				},
			}),
		},
		{
			ID: "5bf8f8567dd2d86eab87ed44", AppID: appID, Name: "Settings for the night tariff",
			Start: now.Add(-time.Hour),
			Subtasks: northboundtest.Scripted(500, 44, northboundtest.Profile{
				Duration: 4 * time.Hour,
				MaxWait:  2 * time.Hour,
				Outcomes: []northboundtest.Outcome{{Share: 0.5, Status: northboundtest.Timeout, Code: "100435"}},
			}),
		},
	}
}
