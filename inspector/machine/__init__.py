"""The rules: what a kernel, a processor or KVM says to an event, and what it then holds.

Theory of operation
===================

A machine is state, and events happen to it. An event is one thing that a real system does too: a prctl, an ioctl, an
instruction, a VM exit, a context switch, a register write. For each there is one function, which mirrors the one of
the kernel or the manual's page that it names:

    rule = Rule("kvm_vm_ioctl_create_vcpu (kvm_main.c)")
    if not rule.check("the number is below 512", number < 512):
        return rule.refuse(errno.EINVAL)
    ...change the state...
    return rule.ok()

It makes its checks in the order of its source. The first that does not hold decides: an errno, an exception, a signal.
Only after the last one is state changed, so a refusal leaves everything as it was. What comes out is an Outcome: the
verdict, all checks that were made, the value or bytes that the call returns, the source, and who says so (`Evidence`:
a kernel, a manual, recorded silicon, or nobody). An event with its outcome is a Step; a restore, a migration and a
realized model are Steps one after the other.

Nothing here reads a file, knows a screen, or makes sentences of state: state is numbers and bytes in the kernel's own
layouts, and views make words of them. What differs between kernels is data in `layouts`, where it is a mask, a limit
or a rule that several places know: they ask `host.kernel.NAME`. What one line of one function does since a release, or
since a stable update, stands at that line: `kvm.since(6, 16)`. Everything is deterministic, so a state is the events
that led to it, and taking one back is making the others again.

The floors, lowest first; no file imports one that imports it (tests/test_imports.py):

    outcome     Rule, Check, Outcome, Step: the words of both machines
    host        what a machine gives: CPUID or ID registers, a kernel profile, what follows from them by that kernel
    x86/cpu     a logical processor: registers with their XINUSE, instructions as functions on it
    x86/linux   a kernel on processors: processes, fpstate, switches, #NM, signals; the guest's kernel is the same code
    x86/kvm     ioctls on a vCPU, KVM_RUN, a guest that runs on a processor; TDs
    x86/world   all of these with a clock of events in words, undo, restore, and the matrix that the lab shows
    arm64       KVM's ID registers, SVE, firmware registers, features; a VM and its vCPUs; models/ asks them questions
    arm64/world hosts, VMs and guests with a clock of events in words, as x86/world; world.py is what both have
    answer      a recorded answer of a real kernel beside ours; */replay makes them, verify counts them

To follow one event: `World.happen` parses its words, `world/events` finds the function, `linux` or `kvm` does what
the kernel does, `cpu` executes what is executed, and the Outcome comes back up the same way. To add a rule, write the
function, name its source, and let `inspector verify` hold it against recorded answers.
"""
