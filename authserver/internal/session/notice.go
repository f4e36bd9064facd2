package session

import (
	"net/http"
	"time"
)

// Notice is what a page confirms of the form that was sent before it.
type Notice string

// The notices that there are.
const (
	Saved   Notice = "saved"
	Revoked Notice = "revoked"
	Deleted Notice = "deleted"
)

const noticeName = "gatehouse_notice" // what the next page confirms

// noticeLife is how long a notice waits for its page.
const noticeLife = time.Minute

// LeaveNotice keeps a notice in the browser for the next page.
func (m *Manager) LeaveNotice(w http.ResponseWriter, n Notice) {
	m.set(w, noticeName, string(n), noticeLife)
}

// Notice returns what was left for this page, and takes it away; empty: nothing. A value that
// another host of the domain planted is none of the known ones, or says what one of them says.
func (m *Manager) Notice(w http.ResponseWriter, r *http.Request) Notice {
	found := r.CookiesNamed(m.name(noticeName))
	if len(found) == 0 {
		return ""
	}
	m.set(w, noticeName, "", -time.Second)
	switch n := Notice(found[0].Value); n {
	case Saved, Revoked, Deleted:
		return n
	}
	return ""
}
