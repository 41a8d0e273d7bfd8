// Package prefork runs one program as a master and a set of children, as
// Tornado's HTTPServer.start(n), gunicorn and nginx do, and keeps them running.
//
// The master binds the listening sockets, starts the children, starts them
// again when they die, and passes signals on. It runs no application code, so
// there is little in it that could fail. A child is the same binary executed
// again; it finds out with Inherit that it is one.
//
// # Slots
//
// A slot has a role, a number and, if its role listens, a socket; these are
// its own for life, while the processes in it come and go. The socket stays
// open in the master, so connections that a dead child had not yet accepted
// wait in the kernel for its successor. A slot's current process:
//
//	         spawn           "ready"          nothing accepted
//	backoff ───────► booting ───────► live ◄───────────────────► stalled
//	   ▲                │ boot timeout │ no heartbeat for the       │
//	   │                │       KILL   ▼ hang timeout               ▼
//	   │                │             hung: QUIT, then KILL ◄───────┘
//	   └─────── exit ───┴──────────────┴─────────────────────────────
//
// A process that is to be replaced, by a reload, after its requests or for its
// memory, stays current until its successor is ready:
//
//	next:    booting ──"ready"──► live, the current one from now on
//	            └─exit, boot timeout─► tried again later, nothing else changes
//	current: live ──── leaving: TERM ──grace is over──► QUIT ──2 s──► KILL
//
// A slot that is removed (TTOU) gets no new connections from then on, loses its
// socket when none has waited in it for a while, and then its process:
//
//	leaving (retiring) ──queue empty for 500 ms──► leaving ──exit──► stopped
//
// TERM and INT make all processes leave; a second one kills them.
//
// # Reload
//
// HUP puts a new binary and configuration to the test before anything changes
// (reload.go); then the master executes it in its own place, and hands over its
// slots in a file in memory (handover.go, resume.go).
//
// # Steering
//
// New connections go to live slots only, more of them to those that hold fewer:
// a BPF program on the group of sockets says so (steer.go), and is replaced with
// every change, and as connections come and go. What waits in the socket of a slot that is not live is accepted
// by a live sibling, which is sent a copy of the socket for as long (adopt.go).
//
// One goroutine, the one that calls Master.Run, owns all slots; signals, exits
// and messages from children come to it as events, so there is no lock.
//
// # What a child inherits
//
//	fd 3  control socket (SOCK_SEQPACKET): the configuration as its
//	      first message, then "adopt SLOT" with that slot's socket and "release
//	      SLOT", "visit" with a connection for Child.Visits; "ready" the other
//	      way; end of file: the master is dead
//	fd 4  the slot's page of the scoreboard
//	fd 5  the slot's listening socket, if its role listens
//	fd 6  the place for its reports (report.go), if GALE_REPORTS is set
//
// and in its environment GALE_SLOT (serve.0), GALE_GENERATION (how many
// processes the slot has had) and GALE_INSTANCE (drawn by each master).
package prefork

// Names of the variables in a child's environment.
const (
	envSlot       = "GALE_SLOT"
	envGeneration = "GALE_GENERATION"
	envInstance   = "GALE_INSTANCE"

	envReports = "GALE_REPORTS"
)

// File descriptors of a child, see the package comment.
const (
	fdControl = 3 + iota
	fdPage
	fdListener
	fdReports
)

// Messages on the control socket.
const (
	configMessage  = "config "  // the first to a child, the configuration behind it
	adoptMessage   = "adopt "   // accept from the socket of the slot named, too
	releaseMessage = "release " // and no more
	visitMessage   = "visit"    // somebody wants to talk to this process
	readyMessage   = "ready"    // from a child that does its work now
)

// maxConfig is the largest configuration in bytes: what fits into one message
// of a socket with the kernel's default buffer, with room to spare.
const maxConfig = 128 << 10
