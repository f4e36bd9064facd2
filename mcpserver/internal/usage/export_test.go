package usage

// ForgetRefusals is what the sweep does with refusals.
var ForgetRefusals = forgetRefusals
