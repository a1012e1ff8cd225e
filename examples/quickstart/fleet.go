package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// batch is a batch task that the exporter is to watch.
type batch struct {
	Name string // in the configuration
	Note string // what there is to see
	northboundtest.Task
	unknown bool // the platform does not have it
}

const probedTask = "5bf8f8567dd2d86eab87ed40"

// fleet are the tasks that are there from the beginning. The same time makes
// the same tasks.
func fleet(now time.Time) []batch {
	return []batch{
		{
			Name: "firmware-41",
			Note: "Finished yesterday. Read once, then left alone for an hour.",
			Task: northboundtest.Task{
				ID: "5bf8f8567dd2d86eab87ed41", AppID: fleetApp, Name: "Firmware 4.1 on all pumps",
				Start: now.Add(-30 * time.Hour),
				Subtasks: northboundtest.Scripted(5000, 41, northboundtest.Profile{
					Duration: 6 * time.Hour,
					Outcomes: []northboundtest.Outcome{
						{Share: 0.012, Status: northboundtest.Fail, Code: "100428"},
						{Share: 0.002, Status: northboundtest.Fail, Code: "100612"},
						{Share: 0.006, Status: northboundtest.Timeout},
					},
				}),
			},
		},
		{
			Name: "firmware-42",
			Note: "As large as the platform allows, and under way for half a day.",
			Task: northboundtest.Task{
				ID: "5bf8f8567dd2d86eab87ed42", AppID: fleetApp, Name: "Firmware 4.2 on all pumps",
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
		},
		{
			Name: "registration-7",
			Note: "Full of failures, with many error codes.",
			Task: northboundtest.Task{
				ID: "5bf8f8567dd2d86eab87ed43", AppID: fleetApp, Name: "Meters of the northern plant", Type: northboundtest.DeviceReg,
				Start: now.Add(-10 * time.Minute),
				Subtasks: northboundtest.Scripted(1200, 7, northboundtest.Profile{
					Duration: 20 * time.Minute,
					Outcomes: []northboundtest.Outcome{
						{Share: 0.31, Status: northboundtest.Fail, Code: "100426"},
						{Share: 0.16, Status: northboundtest.Fail, Code: "103028"},
						{Share: 0.08, Status: northboundtest.Fail, Code: "100416"},
						{Share: 0.03, Status: northboundtest.Fail, Code: "600002"},
						{Share: 0.01, Status: northboundtest.Fail, Code: "50400"},
						{Share: 0.02, Status: northboundtest.Fail}, // the platform says no code
					},
				}),
			},
		},
		{
			Name: "night-settings",
			Note: "Devices that sleep: every other subtask times out.",
			Task: northboundtest.Task{
				ID: "5bf8f8567dd2d86eab87ed44", AppID: fleetApp, Name: "Settings for the night tariff",
				Start: now.Add(-time.Hour),
				Subtasks: northboundtest.Scripted(500, 44, northboundtest.Profile{
					Duration: 4 * time.Hour,
					MaxWait:  2 * time.Hour,
					Outcomes: []northboundtest.Outcome{{Share: 0.5, Status: northboundtest.Timeout, Code: "100435"}},
				}),
			},
		},
		{
			Name: "forgotten",
			Note: "The platform does not know this one any more: its task_up is 0.",
			Task: northboundtest.Task{ID: "5bf8f8567dd2d86eab87ed45"},

			unknown: true,
		},
		{
			Name: "billing-tariffs",
			Note: "Belongs to another application, which authorized this one.",
			Task: northboundtest.Task{
				ID: "5bf8f8567dd2d86eab87ed46", AppID: billingApp, Name: "Tariffs of the new year",
				Start: now.Add(-20 * time.Minute),
				Subtasks: northboundtest.Scripted(450, 46, northboundtest.Profile{
					Duration: 2 * time.Hour,
					Outcomes: []northboundtest.Outcome{{Share: 0.04, Status: northboundtest.Fail, Code: "100432"}},
				}),
			},
		},
	}
}

// populate puts applications and tasks on the platform. The exporter's
// application may read the tasks of the other one.
func populate(p *northboundtest.Platform, secret string, now time.Time) {
	p.AddApplication(northboundtest.App{ID: fleetApp, Secret: secret})
	p.AddApplication(northboundtest.App{ID: billingApp, Secret: secret + "-of-billing"})
	p.Authorize(billingApp, fleetApp)
	for _, b := range fleet(now) {
		if !b.unknown {
			p.AddTask(b.Task)
		}
	}
	p.AddTask(northboundtest.Task{
		ID: probedTask, AppID: fleetApp, Name: "Diagnostics of a few pumps", Start: now.Add(-time.Minute),
		Subtasks: northboundtest.Scripted(40, 40, northboundtest.Profile{
			Duration: 10 * time.Minute,
			Outcomes: []northboundtest.Outcome{{Share: 0.1, Status: northboundtest.Fail, Code: "100431"}},
		}),
	})
}

const (
	campaignInterval = 10 * time.Minute
	// campaignLength is how many of the newest tasks are watched.
	campaignLength = 6
)

// campaign begins a small task again and again, as a scheduled job would, each
// under an ID of its own, and lists the newest in a task file.
type campaign struct {
	platform *northboundtest.Platform
	file     string
	launched int
}

func (c *campaign) id(n int) string { return fmt.Sprintf("5bf8f8567dd2d86eab88%04x", n) }

// launch begins the next task.
func (c *campaign) launch(now time.Time) error {
	c.launched++
	c.platform.AddTask(northboundtest.Task{
		ID: c.id(c.launched), AppID: fleetApp, Name: fmt.Sprintf("Reboot of group %d", c.launched), Start: now,
		Subtasks: northboundtest.Scripted(240, uint64(c.launched), northboundtest.Profile{ //nolint:gosec // counts from 1
			Duration: 8 * time.Minute,
			MaxWait:  time.Minute,
			Outcomes: []northboundtest.Outcome{
				{Share: 0.03, Status: northboundtest.Fail, Code: "100428"},
				{Share: 0.01, Status: northboundtest.Timeout},
			},
		}),
	})

	var list strings.Builder
	list.WriteString("# Written anew whenever a task begins; the exporter notices.\n")
	for n := c.launched; n > max(0, c.launched-campaignLength); n-- {
		fmt.Fprintf(&list, "- targets: [%s]\n  labels: {__name: reboot-%d, campaign: reboots}\n", c.id(n), n)
	}
	// Under another name first: the exporter never sees half a file.
	draft := filepath.Join(filepath.Dir(c.file), "draft")
	if err := os.WriteFile(draft, []byte(list.String()), 0o600); err != nil {
		return fmt.Errorf("cannot write the task file: %w", err)
	}
	if err := os.Rename(draft, c.file); err != nil {
		return fmt.Errorf("cannot write the task file: %w", err)
	}
	return nil
}
