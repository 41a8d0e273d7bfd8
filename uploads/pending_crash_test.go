package uploads

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// crashEnv, with the value "moment way folder", makes the test binary a process that
// stores a file in the folder in one of several ways and stops at the moment.
const crashEnv = "GALE_TEST_UPLOADS_CRASH"

// storeUntilStopped prints a line when it has reached the moment, and then waits to be
// killed.
func storeUntilStopped(moment, way, dir string) error {
	sys, armed := realSyscalls(), false
	linkat := sys.linkat
	stop := func() {
		fmt.Println("stopped")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test kills it
	}
	sys.linkat = func(olddir int, oldname string, newdir int, newname string, flags int) error {
		if armed && moment == "recorded" {
			stop()
		}
		err := linkat(olddir, oldname, newdir, newname, flags)
		if armed && err == nil {
			stop()
		}
		return err
	}
	s, err := open(dir, Options{Stored: func(context.Context, string, File) error { return errors.New("too early") }}, sys)
	if err != nil {
		return err
	}
	if way == "multipart" {
		armed = true
		_, err = s.Multipart(context.Background(), strings.NewReader(formBody(filePart("d", "a.bin", "content"))), testBoundary)
		return err
	}
	u, err := beginUpload(s, way)
	if err != nil {
		return err
	}
	if _, err := u.Write(context.Background(), []byte("content")); err != nil {
		return err
	}
	armed = true
	if way == "numbered" {
		_, err = u.PublishNumbered(context.Background(), "d", "a.bin")
	} else {
		_, err = u.Publish(context.Background(), "d", "a.bin")
	}
	return err
}

// beginUpload starts an upload with Create, or with Resume as package tus does.
func beginUpload(s *Store, way string) (*Upload, error) {
	if way != "resumed" {
		return s.Create(context.Background(), "", "")
	}
	folder, err := s.PrivateFolder(".resumable-test")
	if err != nil {
		return nil, err
	}
	f, err := folder.OpenFile(resumedID, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return s.Resume(context.Background(), f, ".resumable-test/"+resumedID, Checkpoint{})
}

const resumedID = "KEPT"

// If a process is killed after a file got its name and before Stored was called, another
// process calls Stored. If it is killed before the file got its name, Stored is not
// called.
func TestKillBeforeStored(t *testing.T) {
	for _, way := range []string{"multipart", "publish", "numbered", "resumed"} {
		for moment, want := range map[string]int{"recorded": 0, "published": 1} {
			t.Run(way+"/"+moment, func(t *testing.T) {
				dir := t.TempDir()
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), crashEnv+"="+moment+" "+way+" "+dir, "GORACE=atexit_sleep_ms=0")
				cmd.Stderr = os.Stderr
				if _, err := cmd.StdinPipe(); err != nil {
					t.Fatal(err)
				}
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails if the process has ended
				if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
					t.Fatalf("the process has not reached the moment: %v", err)
				}
				var calls storedCalls
				s := openStore(t, dir, Options{Stored: calls.stored})
				if retry(t, s, 0); len(calls.files) != 0 || len(records(t, dir)) != 1 {
					t.Fatalf("while the process is running: %v, %v", calls.files, records(t, dir))
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // killed
				retry(t, s, 0)
				retry(t, s, 0)
				if n := calls.names()["d/a.bin"]; n != want || len(calls.files) != want || len(records(t, dir)) != 0 {
					t.Errorf("called for %v, left %v", calls.names(), records(t, dir))
				}
				for id, files := range calls.files {
					if f := files[0]; f.ID != id || (way == "resumed") != (id == resumedID) || f.SHA256 != sum("content") || f.Size != 7 || f.Code != CodeStored {
						t.Errorf("%s: %+v", id, f)
					}
				}
			})
		}
	}
}
