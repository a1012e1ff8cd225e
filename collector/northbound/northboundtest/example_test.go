package northboundtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func Example() {
	platform := northboundtest.NewServer(northboundtest.WithClientCertificates())
	defer platform.Close()
	platform.AddApplication(northboundtest.App{ID: "fleetApp", Secret: "s3cret"})
	platform.AddTask(northboundtest.Task{
		ID:    "5bf8f8567dd2d86eab87edd9",
		AppID: "fleetApp",
		Start: time.Now().Add(-2 * time.Hour),
		Subtasks: northboundtest.Scripted(30000, 1, northboundtest.Profile{
			Duration: time.Hour,
			Outcomes: []northboundtest.Outcome{{Share: 0.01, Status: northboundtest.Fail, Code: "100428"}},
		}),
	})

	// What is to be tested would now sign in and ask for the task.
	client := platform.Client()
	ctx := context.Background()
	login, err := http.NewRequestWithContext(ctx, http.MethodPost, platform.URL+northboundtest.LoginPath,
		strings.NewReader("appId=fleetApp&secret=s3cret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(login)
	if err != nil {
		fmt.Println(err)
		return
	}
	var token struct{ AccessToken string }
	decodeBody(res, &token)

	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		platform.URL+northboundtest.TaskDetailsPath+"?taskId=5bf8f8567dd2d86eab87edd9&status=Fail&pageNo=0&pageSize=1", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	request.Header.Set("app_key", "fleetApp")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	res, err = client.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	var details struct{ TotalCount int }
	decodeBody(res, &details)

	fmt.Println("failed:", details.TotalCount)
	fmt.Println("truth:", platform.Truth("5bf8f8567dd2d86eab87edd9").Errors)
	for _, c := range platform.Calls() {
		fmt.Println(c.Operation, c.Status, c.Rows)
	}
	// Output:
	// failed: 300
	// truth: map[{Fail 100428}:300]
	// login 200 0
	// task_details 200 1
}

// decodeBody reads an answer into v.
func decodeBody(res *http.Response, v any) {
	err := json.NewDecoder(res.Body).Decode(v)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		panic(err)
	}
}
