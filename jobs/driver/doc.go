// Package driver is for the authors of stores and workers: the whole Store, leases
// and outcomes, and the rules and texts that all stores share. Users of tasks need
// package jobs only. Every Store passes the suite in jobs/jobstest.
package driver
