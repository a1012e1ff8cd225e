// Package northboundtest simulates the batch-task part of the Huawei IoT
// platform's northbound API, in the manner of [net/http/httptest].
//
// A [Platform] is an [http.Handler] that holds applications and batch tasks. It
// answers sign-in, token refresh, taskDetails and tasks/{taskId} as the
// platform's documents say. Where they contradict each other or say nothing,
// the newest REST document is followed and an option (With…) gives the other
// version. Options whose names begin with Lie make it break its own documents;
// no real platform is known to do so.
//
// It can be reached in three ways:
//
//   - [NewServer] listens on loopback, with HTTPS and a certificate authority
//     of its own, and with client certificates if wanted.
//   - [Platform.PipeTransport] is a transport in memory, for fake time.
//   - [New] alone makes a handler to mount anywhere.
//
// # Fake time
//
// The platform takes the time from [time.Now] only, so a [testing/synctest]
// bubble governs it: tokens expire, minutes of the call limit pass and tasks
// progress in fake time. Loopback sockets do not work there, because a goroutine
// that waits for the network is not durably blocked and time stands still. The
// connections of PipeTransport block durably:
//
//	synctest.Test(t, func(t *testing.T) {
//		p := northboundtest.New()
//		transport, stop := p.PipeTransport()
//		defer stop()
//		client := &http.Client{Transport: transport}
//		…
//		time.Sleep(24 * time.Hour) // returns at once
//	})
//
// Make the platform and everything that talks to it inside the bubble.
//
// # Oracle and record
//
// [Platform.Truth] tells what a task's subtasks are at this moment, and
// [Platform.Calls] what was asked. Both see the platform from inside, so neither
// lies nor faults change them.
package northboundtest
