//! Every key and every sign, in words.

pub(crate) const TEXT: &str = "\
q ctrl-c     quit; ctrl-z stops, fg goes on
↑ ↓ j k      choose a row, or a device where only devices are shown
pgup pgdn    a page; home end g G: to the start, to the end
enter        open the device; of a row, all that is known of it
esc          take the filter back; then to all devices
d D          next device, device before (or click it)
tab          next table: holders, processes, pools, models
m            what each model holds
a            holders of all devices, or of the chosen one
s            sort by bytes, name, user, model, pod
/            filter: words in any column, all of them, or in one:
             user:ann model:llama pod:ns/x container: job: pid:
             command: device:  enter keeps it, esc takes it back
K del        end the chosen process: asks first; y sends SIGTERM,
             9 then y SIGKILL. Not in a recording or from afar
space p      pause; in a recording, left and right step
click wheel  choose and open; scroll what is under the pointer
? h          this

level        normal, elevated, high, critical; left once memory is
             well below it. unknown: no numbers to judge by
lost         was here, and its source says it is not any more
not read     its source does not answer: nothing is known of it
used total   held by every process together, of all there is
busy         part of the last sampling period in which it computed
idle         a tenth or more is held, and nothing was computed for
             the time said, a minute at least
full in      at the rate of the last minutes
↑ ⇑          growing, growing fast; leak: suspected, see events
stall        time lost waiting for memory in the last 10 s
–            not available: nobody gives that number
events       of other machines: of the readings that were fetched";

/// Lines of it that are seen at once on a screen so high.
pub(crate) fn room(height: u16) -> u16 {
    height.saturating_sub(2)
}

/// The last line that it can be shown from.
pub(crate) fn last(height: u16) -> u16 {
    (TEXT.lines().count() as u16).saturating_sub(room(height))
}
