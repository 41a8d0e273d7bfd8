// Package prefork runs one program as a master and a set of children, as
// Tornado's HTTPServer.start(n), gunicorn and nginx do, and keeps them running.
//
// The master binds the listening sockets, starts the children and restarts them
// when they die. It runs no application code, so little in it can fail. A child
// is the same binary executed again; Inherit reports that a process is one.
//
// # Slots
//
// A slot has a role, a number and, if its role listens, a socket. It keeps them
// while its processes are replaced. The socket stays open in the master, so
// connections that a dead child had not yet accepted wait in the kernel for its
// successor. The states of a slot's current process:
//
//	         spawn           "ready"          nothing accepted
//	backoff ───────► booting ───────► live ◄───────────────────► stalled
//	   ▲                │ boot timeout │ no heartbeat for the       │
//	   │                │       KILL   ▼ hang timeout               ▼
//	   │                │             hung: QUIT, then KILL ◄───────┘
//	   └─────── exit ───┴──────────────┴─────────────────────────────
//
// A process that is replaced, by a reload or because it has reached its limit of
// requests or memory, stays current until its successor is ready:
//
//	next:    booting ──"ready"──► live, the current one from now on
//	            └─exit, boot timeout─► tried again later, nothing else changes
//	current: live ──── leaving: TERM ──grace is over──► QUIT ──2 s──► KILL
//
// A slot that is removed (TTOU) gets no new connections. Its socket is closed when
// the accept queue has been empty for a while, and then its process leaves:
//
//	leaving (removing) ──queue empty for 500 ms──► leaving ──exit──► stopped
//
// TERM and INT make all processes leave; a second one kills them.
//
// # Reload
//
// HUP tests a new binary and configuration before anything changes (reload.go).
// Then the master executes it in its own place, and hands over its slots in a
// file in memory (handover.go, resume.go). The new master replaces the processes
// one by one (rollout.go).
//
// # Steering
//
// New connections go to live slots only, and more of them to slots that hold
// fewer: a BPF program on the group of sockets distributes them (bpf.go,
// steering.go), and is replaced when slots or their connections change. If a
// slot is not live, a live sibling gets a copy of its socket and accepts what
// waits in it.
//
// # The parts of a master
//
// One goroutine, which calls Master.Run, owns all state; signals, exits and
// messages from children are events of its loop, so there is no lock. The state
// is divided among types that do not know the master:
//
//	slotTable        the slots, and the figures of removed ones
//	supervisor       starts and ends processes, backoff, deadlines
//	sockets          the listening sockets
//	steering         which slots new connections go to
//	monitor          heartbeats, accept queues, memory
//	resizer          adds and removes slots
//	rollout          replaces processes one by one
//	reloader         trial and canaries of a new release
//	notifier         systemd
//	parkedListeners  the master's own sockets
//	system           every call to the operating system
//
// # What a child inherits
//
//	fd 3  control socket (SOCK_SEQPACKET): the configuration as its
//	      first message, then "adopt SLOT" with that slot's socket and "release
//	      SLOT", "visit" with a connection for Child.MasterListener; from the child
//	      "ready"; end of file: the master is dead
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
	configMessage  = "config "  // the first to a child, followed by the configuration
	adoptMessage   = "adopt "   // accept from the socket of that slot, too
	releaseMessage = "release " // stop accepting from it
	dialMessage    = "visit"    // a connection from Master.Dial
	readyMessage   = "ready"    // from a child that works now
)

// maxConfig is the largest configuration in bytes: what fits into one message
// of a socket with the kernel's default buffer, with room to spare.
const maxConfig = 128 << 10
