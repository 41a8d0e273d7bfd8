package prefork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Why a child drains: the causes of the context that Run hands out.
var (
	ErrTerminated = errors.New("terminated by the master")
	ErrOrphaned   = errors.New("the master is gone")
)

// heartbeatInterval is the interval of the heartbeat, and so the longest that a child
// stays stalled once it works again.
const heartbeatInterval = 250 * time.Millisecond

// Child is the child's side of a slot.
type Child struct {
	Role       string
	Number     int
	Generation int
	// Instance is the master's, the same for all of its children.
	Instance string
	// Config is the master's Options.Config.
	Config []byte

	control    socket
	page       *page
	counters   *Counters
	report     *report // nil: the master is of an older release without reports
	fromMaster masterListener

	mu       sync.Mutex
	listener *listener // once Listener has been called
}

// Inherit reports whether this process is a child of a Master, by environ (in
// the form of os.Environ), and takes over what it inherited.
func Inherit(environ []string) (c *Child, ok bool, err error) {
	vars := variables(environ)
	name, ok := vars[envSlot]
	if !ok {
		return nil, false, nil
	}
	c = &Child{Instance: vars[envInstance], fromMaster: newMasterListener()}
	role, number, _ := strings.Cut(name, ".")
	c.Role = role
	var errNumber, errGeneration error
	c.Number, errNumber = strconv.Atoi(number)
	c.Generation, errGeneration = strconv.Atoi(vars[envGeneration])
	if errNumber != nil || errGeneration != nil || role == "" {
		return nil, true, fmt.Errorf("%s=%s is set, but not by a master: unset it", envSlot, name)
	}
	if c.page, err = mapPage(fdPage); err != nil {
		return nil, true, fmt.Errorf("%s=%s is set, but there is no master: %w", envSlot, name, err)
	}
	unix.CloseOnExec(fdPage)
	var index int
	if c.counters, index = c.page.find(c.Generation); c.counters == nil {
		return nil, true, fmt.Errorf("%s=%s is set, but the scoreboard has no place for it", envSlot, name)
	}
	if vars[envReports] != "" {
		if c.report, err = inheritReport(index); err != nil {
			return nil, true, fmt.Errorf("%s=%s is set, but there is no master: %w", envSlot, name, err)
		}
	}
	if c.control, err = newSocket(fdControl, "control"); err != nil {
		return nil, true, fmt.Errorf("reach the master: %w", err)
	}
	buf := make([]byte, len(configMessage)+maxConfig)
	n, err := c.control.Read(buf)
	if err != nil {
		return nil, true, fmt.Errorf("read configuration from the master: %w", err)
	}
	if c.Config, ok = bytes.CutPrefix(buf[:n], []byte(configMessage)); !ok {
		return nil, true, fmt.Errorf("read configuration from the master: unexpected message")
	}
	// What ps and top show as the command, instead of "exe".
	_ = os.WriteFile("/proc/self/comm", []byte(c.Slot()), 0)
	return c, true, nil
}

// Slot is the slot's name, role and number.
func (c *Child) Slot() string { return fmt.Sprintf("%s.%d", c.Role, c.Number) }

// Owner names the slot among those of all masters, for leases on shared stores.
// All processes of the slot have the same.
func (c *Child) Owner() string { return c.Instance + "/" + c.Slot() }

// Counters is where this process counts connections and requests.
func (c *Child) Counters() *Counters { return c.counters }

// AppCounters are the slot's counters for the application, of this process and all
// earlier ones.
func (c *Child) AppCounters() *AppCounters { return &c.page.appCounters }

// OnlyProcess reports whether no earlier process of the slot is alive. The caller may
// then take over what that process held under the slot's name.
func (c *Child) OnlyProcess() bool { return c.page.alone(c.Generation) }

// Listener accepts from the slot's socket, and from those of siblings that do
// not accept at the moment, as the master decides. Close closes this process's
// copies; the master's stay open. Accept still returns the connections that were
// accepted before Close, and then net.ErrClosed.
func (c *Child) Listener() (net.Listener, error) {
	own, err := listenerFromFD(fdListener)
	if err != nil {
		return nil, fmt.Errorf("inherit listening socket: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener = newListener(c.Slot(), own, c.counters)
	return c.listener, nil
}

// Ready notifies the master that the child works now. Until then its listener
// accepts nothing: a child that fails to start must not take connections that a
// sibling could serve.
func (c *Child) Ready() error {
	c.mu.Lock()
	if c.listener != nil {
		c.listener.open()
	}
	c.mu.Unlock()
	if err := c.control.Send(readyMessage, -1); err != nil {
		return fmt.Errorf("notify master: %w", err)
	}
	return nil
}

// Run calls work with a context that ends, with the cause ErrTerminated or
// ErrOrphaned, when the child has to leave; work then has grace to finish what
// it does. Run returns what work returns, or an error if work has not returned
// within grace. It sends the heartbeat until then.
//
// SIGINT and SIGHUP, which a terminal sends to the whole process group, are
// the master's business and are ignored; SIGQUIT prints all goroutines.
func (c *Child) Run(ctx context.Context, grace time.Duration, work func(context.Context) error) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	go c.handleMessages(leave) // ends with the master, or the process

	var others sync.WaitGroup
	defer others.Wait()
	alive, finished := context.WithCancel(context.Background())
	defer finished()
	// Before work reports ready: TERM may follow at once.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)       // as in the master
	others.Go(func() { c.sendHeartbeats(alive, leave, signals) }) // ends when Run returns

	done := make(chan error, 1)
	go func() { done <- work(ctx) }() // ends with work
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("%w, and work is not finished within %v", context.Cause(ctx), grace)
	}
}

// sendHeartbeats sends heartbeats and listens for TERM, until alive ends.
func (c *Child) sendHeartbeats(alive context.Context, leave context.CancelCauseFunc, signals <-chan os.Signal) {
	beat := time.NewTicker(heartbeatInterval)
	defer beat.Stop()
	c.Counters().setHeartbeat(time.Now())
	for {
		select {
		case <-alive.Done():
			return
		case now := <-beat.C:
			c.Counters().setHeartbeat(now)
		case sig := <-signals:
			if sig == syscall.SIGTERM {
				leave(ErrTerminated)
			}
		}
	}
}

// handleMessages does what the messages on the control socket ask for, until
// its end.
func (c *Child) handleMessages(leave context.CancelCauseFunc) {
	buf, rights := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	for {
		n, nr, _, _, err := c.control.ReadMsgUnix(buf, rights)
		if err != nil || n == 0 {
			leave(ErrOrphaned)
			return
		}
		text := string(buf[:n])
		if text == dialMessage {
			c.fromMaster.deliver(connFrom(rights[:nr]))
			continue
		}
		socket := socketFrom(rights[:nr])
		c.mu.Lock()
		l := c.listener
		c.mu.Unlock()
		slot, adopt := strings.CutPrefix(text, adoptMessage)
		switch {
		case adopt && l != nil && socket != nil:
			l.add(slot, socket)
			continue
		case l != nil && strings.HasPrefix(text, releaseMessage):
			l.remove(strings.TrimPrefix(text, releaseMessage))
		}
		if socket != nil {
			_ = socket.Close()
		}
	}
}

// socketFrom takes the listening socket out of a control message (unix(7),
// SCM_RIGHTS); nil if there is none.
func socketFrom(rights []byte) net.Listener {
	fd := descriptorFrom(rights)
	if fd < 0 {
		return nil
	}
	socket, err := listenerFromFD(uintptr(fd))
	if err != nil {
		return nil
	}
	return socket
}

// descriptorFrom takes the descriptor out of a control message; -1 if there is
// none.
func descriptorFrom(rights []byte) int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	unix.CloseOnExec(fds[0])
	return fds[0]
}
