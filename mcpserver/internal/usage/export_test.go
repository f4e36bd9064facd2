package usage

// ForgetRefusals is what the sweep does with refusals.
var ForgetRefusals = forgetRefusals

// ForgetSignals is what the sweep does with the names of signals.
var ForgetSignals = forgetSignals
