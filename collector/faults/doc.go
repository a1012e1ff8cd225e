// Package faults is the fault matrix: everything around the exporter that can
// break, breaks here, and the tests say what must hold while it does.
//
// Each fault is a row of a table ([fault] in the tests): what breaks, how far
// the damage may go, under which code it is counted, and what the log says. One
// runner checks for every row what always has to hold; see [fault.run].
//
// Faults of the platform's answers and of the sign-in run in fake time against
// the simulated platform; those of the network, of scrapers and of the machine
// run in real time against the program itself, with a fault proxy between the
// two.
package faults
