// Package driver is for authors of stores and workers. It has the full Store interface,
// leases and outcomes, and the rules and texts that all stores share. Applications need
// package jobs only. Every Store must pass the conformance suite in jobs/jobstest.
package driver
