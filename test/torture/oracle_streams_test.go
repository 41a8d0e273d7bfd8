package torture_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
)

// checkTus checks the resumable uploads. One client sends an upload, one request after the
// other.
func checkTus(ops []op, end state) (all []violation) {
	type upload struct {
		create      op
		acked, sent int64
		done        bool
	}
	uploads := map[string]*upload{}
	for _, o := range kinds(ops, kindTusCreate, kindTusPatch, kindTusOffset) {
		u := uploads[o.ID]
		if u == nil {
			u = &upload{create: o}
			uploads[o.ID] = u
			continue
		}
		if u.sent = max(u.sent, o.Sent); o.lost() || o.Status != http.StatusNoContent && o.Status != http.StatusOK {
			continue
		}
		if o.N < u.acked || o.N > u.sent {
			all = append(all, violation{promiseTus, o.ID, fmt.Sprintf("offset %d after %d was acknowledged and %d sent: %v", o.N, u.acked, u.sent, o)})
		}
		u.acked = max(u.acked, o.N)
		u.done = u.acked == u.create.N
	}
	for id, u := range uploads {
		digest, exists := end.Files[id]
		switch {
		case exists && digest != u.create.Content:
			all = append(all, violation{promiseFile, id, "the file of the upload has other bytes"})
		case exists && u.sent < u.create.N:
			all = append(all, violation{promiseFile, id, fmt.Sprintf("the file exists, and only %d of %d bytes were sent", u.sent, u.create.N)})
		case !exists && u.done:
			all = append(all, violation{promiseFile, id, "the upload is complete, and its file does not exist"})
		}
	}
	return all
}

// checkChannels checks what the subscribers of each channel received.
func checkChannels(ops []op) (all []violation) {
	published, streams := map[string][]op{}, map[[2]any][]op{}
	for _, o := range ops {
		switch o.Kind {
		case kindPublish:
			published[o.ID] = append(published[o.ID], o)
		case kindEvent:
			key := [2]any{o.ID, o.Client}
			streams[key] = append(streams[key], o)
		}
	}
	for channel, sent := range published {
		if err := checkNumbers(sent); err != nil {
			all = append(all, violation{promiseChannel, channel, err.Error()})
		}
	}
	for key, events := range streams {
		channel := events[0].ID
		if err := checkStream(published[channel], events); err != nil {
			all = append(all, violation{promiseChannel, channel, fmt.Sprintf("subscriber %v: %v", key[1], err)})
		}
	}
	return all
}

// checkNumbers checks that messages that were published one after the other are numbered in
// that order.
func checkNumbers(sent []op) error {
	known := slices.DeleteFunc(slices.Clone(sent), op.lost)
	byReturn := slices.SortedFunc(slices.Values(known), func(a, b op) int { return cmp.Compare(a.Return, b.Return) })
	slices.SortFunc(known, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	var highest op // of those whose response came before the request of b
	for _, b := range known {
		for len(byReturn) > 0 && byReturn[0].Return < b.Call {
			if byReturn[0].N > highest.N {
				highest = byReturn[0]
			}
			byReturn = byReturn[1:]
		}
		if b.N <= highest.N {
			return fmt.Errorf("%q has number %d, and %q, published later, has %d", highest.Content, highest.N, b.Content, b.N)
		}
	}
	return nil
}

// checkStream checks the events of one subscriber: every message from its first number on,
// each once and in order, except in gaps that were announced.
func checkStream(sent, events []op) error {
	numbers, texts, last := map[int64]string{}, map[string]bool{}, int64(0)
	for _, o := range sent {
		if texts[o.Content] = true; !o.lost() && o.Status == http.StatusOK {
			numbers[o.N] = o.Content
			last = max(last, o.N)
		}
	}
	at, started := int64(0), false // number up to which each message was received or announced as lost
	got := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Got == gotSubscribed && !started:
			at, started = e.N, true
		case e.Got == gotSubscribed && e.N == at:
		case e.Got == gotGap && e.N >= at:
			at, started = e.N, true
		case e.Got == gotSubscribed, e.Got == gotGap, e.N != at+1:
			return fmt.Errorf("event %q with number %d follows number %d", e.Got, e.N, at)
		case got[e.Got]:
			return fmt.Errorf("message %q was received twice", e.Got)
		case !texts[e.Got]:
			return fmt.Errorf("message %q was never published", e.Got)
		default:
			if want, known := numbers[e.N]; known && want != e.Got {
				return fmt.Errorf("message %d is %q, want %q", e.N, e.Got, want)
			}
			at, got[e.Got] = e.N, true
		}
	}
	if at < last {
		return fmt.Errorf("the last number is %d, want %d", at, last)
	}
	return nil
}
