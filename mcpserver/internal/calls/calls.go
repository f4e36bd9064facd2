// Package calls keeps the audit records of tools' calls: who called what, for whom, and what became
// of it.
//
// Records are written many at once into a chain of their own, some milliseconds after the answer. A
// call that changes something has a record before it goes on, or does not go on. What is lost is
// counted, and the chain says so.
package calls

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Actions of the records.
const (
	ActionBegin = "tool.begin" // a call that changes something is about to be passed on
	ActionCall  = "tool.call"  // a call, and what became of it
	ActionGap   = "tool.gap"   // records of calls are missing, or may be
)

// Why a call cannot be recorded before it is passed on.
var (
	errDown   = errors.New("the records of tools' calls cannot be written")
	errFull   = errors.New("too many records of tools' calls wait to be written")
	errSlow   = fmt.Errorf("the record of the call was not written within %s", beginWait)
	errClosed = errors.New("the records of tools' calls are closed")
)

// Begin writes the record of a call that is about to be passed on to the tool of this name.
func (l *Log) Begin(ctx context.Context, r *guard.Record, name string) error {
	err := l.wait(ctx, event(r, name, ActionBegin))
	if err != nil {
		l.mu.Lock()
		l.unrecorded++
		l.mu.Unlock()
	}
	return err
}

// Record takes the record of a call, and what became of it, without waiting for the store.
func (l *Log) Record(r *guard.Record, name string) {
	if r.Decision.Kind != guard.KindTool || !l.keeps(r) {
		return
	}
	l.offer(event(r, name, ActionCall))
}

// keeps says whether a record is to be kept of a call, as its tenant has it.
func (l *Log) keeps(r *guard.Record) bool {
	return r.Decision.Write || r.Behind != "" || r.Refused != "" || l.keep(r.Caller.TenantID) == KeepAll
}

// mostDetail is how long a record's detail is, but for a reason in many words.
const mostDetail = 160

// event is what a record says.
func event(r *guard.Record, name, action string) audit.Event {
	e := audit.Event{
		Time: r.At, Actor: "user:" + r.Caller.Subject, Action: action, Target: name, Tenant: r.Caller.TenantID,
		Client: r.Caller.ClientID, Grant: r.Caller.GrantID, Outcome: audit.OK,
	}
	switch r.Caller.Subject {
	case "":
		e.Actor = "address:" + r.Address
	case r.Caller.ClientID:
		e.Actor = "client:" + r.Caller.ClientID
	}
	detail := make([]byte, 0, mostDetail)
	say := func(name, value string) {
		if value == "" {
			return
		}
		if len(detail) > 0 {
			detail = append(detail, ' ')
		}
		detail = append(append(append(detail, name...), '='), value...)
	}
	say("call", r.CallID)
	say("arguments", r.Arguments)
	if action == ActionBegin {
		e.Detail = string(detail)
		return e
	}
	reason := r.Refused
	switch outcome := r.Outcome(); {
	case outcome == guard.OutcomeRefused:
		e.Outcome = audit.Refused
	case r.Behind != "":
		e.Outcome, reason = audit.Refused, r.Behind
	case outcome == guard.OutcomeObserved:
		e.Outcome = audit.Observed
	case outcome == guard.OutcomeFailed:
		e.Outcome = audit.Failed
		if reason = r.Failure; reason == "" {
			reason = fmt.Sprintf("status %d", r.Status)
		}
	}
	// in ASCII, which is kept as it is
	say("took", strconv.FormatFloat(float64(r.Duration.Microseconds())/1000, 'f', -1, 64)+"ms")
	say("reason", reason)
	e.Detail = string(detail)
	return e
}
