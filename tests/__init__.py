import signal

if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # the suite may run under nohup; the searches it hangs up do not
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
