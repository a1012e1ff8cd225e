package northbound_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"huawei_iot_batch_exporter/collector/northbound"
)

func Example() {
	// A platform with one task, to make the example run.
	mux := http.NewServeMux()
	mux.HandleFunc("POST /iocm/app/sec/v1.1.0/login", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"accessToken":"token","expiresIn":3600}`)
	})
	mux.HandleFunc("GET /iocm/app/batchtask/v1.1.0/taskDetails", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("taskId") != "5bf8f8567dd2d86eab87edd9" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error_code":"105005","error_desc":"The batchTask is not existed"}`)
			return
		}
		_, _ = io.WriteString(w, `{"pageNo":0,"pageSize":250,"totalCount":2,"taskDetails":[
			{"status":"Success","output":"ok","param":{"deviceId":"pump-1"}},
			{"status":"Fail","error":"{\"error_code\":\"100428\",\"error_desc\":\"The device is not online.\"}","param":{"deviceId":"pump-2"}}]}`)
	})
	platform := httptest.NewTLSServer(mux)
	defer platform.Close()

	client, err := northbound.NewClient(platform.URL,
		northbound.Credentials{
			AppID:  "3RQ9UnhymV409MfKPuiin75XroQa",
			Secret: func() (string, error) { return "secret", nil }, // read a file here
		},
		northbound.WithTransport(platform.Client().Transport), // with the CA and the client certificate
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	details, err := client.TaskDetails(ctx, northbound.TaskDetailsQuery{
		TaskID: "5bf8f8567dd2d86eab87edd9",
		Page:   &northbound.Page{No: 0, Size: 250},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, subtask := range details.Subtasks {
		fmt.Printf("%s: %s %q\n", subtask.Param.DeviceID, subtask.Status, subtask.Error.Code)
	}

	_, err = client.TaskDetails(ctx, northbound.TaskDetailsQuery{TaskID: "gone"})
	fmt.Println(errors.Is(err, northbound.ErrTaskNotFound))
	// Output:
	// pump-1: Success ""
	// pump-2: Fail "100428"
	// true
}
