"""Seeds of the readers of text: printed registers, tables of CPUID, logs, records."""

from __future__ import annotations

REGISTER_TEXT = (
    b"# list\n0x603000000013c020 = 0x1101\n0x6030000000100040: 16 ; pc\nID_AA64ISAR0_EL1 0x02\n0x6080000000150000 0x5\n"
)
INFO_X86 = b"""CPU#0
RAX=0000000000000001 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000
RIP=000000000000fff0 RFL=00000002 [-------] CPL=0
ES =0000 0000000000000000 0000ffff 00009300
GDT=     0000000000000000 0000ffff
CR0=60000010 CR2=0000000000000000
FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
FPR0=0000000000000000 0000 FPR1=8000000000000000 3fff
XMM00=0000000000000000 0000000000000001 XMM01=0000000000000000 0000000000000000
"""
INFO_ARM = b""" PC=0000000040000000 X00=0000000000000000 X01=0000000000000001
X30=0000000000000000  SP=0000000000000000
PSTATE=400003c5 -Z-- EL1h  SVCR=00000000 --
FPCR=00000000 FPSR=00000000
P00=0101 FFR=ffff
Z00=0000000000000000:0000000000000001
"""
GDB = b"""Thread 1 (CPU#0 [running]):
rax            0x1                 1
rbx            0x0                 0
rip            0xfff0              0xfff0
eflags         0x2                 [ IOPL=0 ]
st0            1                   (raw 0x3fff8000000000000000)
ymm0           {v8_float = {0x0}, v2_int128 = {0x1, 0x2}}
k0             0x0                 0

Thread 2 (CPU#1 [halted ]):
x0             0x1                 1
x1             0x2                 2
pc             0x4000              0x4000
v0             {d = {f = {0x0}}, q = {u = {0x1}, s = {0x1}}}
p0             {0x1, 0x0 <repeats 31 times>}
"""
OOPS = b"""[   12.345678] CPU: 1 PID: 7 Comm: cat Not tainted 6.1.0 #1
[   12.345679] RIP: 0010:do_thing+0x10/0x20
[   12.345680] RSP: 0018:ffffc90000000000 EFLAGS: 00010246
[   12.345681] RAX: 0000000000000000 RBX: 0000000000000001 RCX: 0000000000000002
[   12.345682] FS:  0000000000000000(0000) GS:ffff888000000000(0000) knlGS:0000000000000000
[   12.345683] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[   13.000000] pstate: 60400005 (nZCv daif +PAN -UAO)
[   13.000001] pc : do_other+0x10/0x20
[   13.000002] sp : ffff800000000000
[   13.000003] x29: ffff800000000000 x28: 0000000000000001
"""
RECORD = b"""# a record
cpu_record = 1
view = "host"
kernel = "6.1"
machine = "one of ours"
[sysreg]
MIDR_EL1 = "0x411fd401"
[kvm]
0x6030000000100040 = 16
[cpuid.d]
0 = ["7", "340", "340", "0"]
[msr]
0x1c4 = 0x40000
"""
CPUID = (
    b"CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69\n\nMSR 0000001B: 0000-0000-FEE0-0900\n",
    b"CPU#000 AffMask: 0x0001\nCPUID 00000004: 00000001-00000002-00000003-00000004\nGroup: 0 AffMask: 2\nx\n",
    b"version=0.7.0\narm_midr=411fd401\narm_id_aa64pfr0=0x11\nbasic_cpuid[0]=d 1 2 3\n",
    b"CPU 0:\n   0x00000000 0x00: eax=0x0000000d ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69\n",
    b"------[ Logical CPU #0 ]------\nCPUID 0000000D: 00000007-00000340-00000340-00000000 [SL 00]\n",
    b"_________________ Logical CPU #0 _________________\nbasic_cpuid[13]=7 340 340 0\nintel_fn4[1]=1 2 3 4\n",
)


CAPABILITIES = b"""<domainCapabilities><domain>kvm</domain><machine>q35</machine><arch>x86_64</arch><cpu>
<mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
<feature policy='require' name='x2apic'/><feature policy='disable' name='svm'/></mode>
<mode name='custom' supported='yes'><model usable='no' vendor='Intel'>Broadwell</model><blockers model='Broadwell'>
<feature name='hle'/><feature name='rtm'/></blockers><model usable='yes'>EPYC</model></mode></cpu>
</domainCapabilities>"""
LOGS = (
    b"ioctl(4<x>, KVM_CREATE_VCPU, 0) = 5\n7 ioctl(5, KVM_SET_CPUID2, {nent=1, entries=[{function=0xd, index=0, "
    b"flags=0, eax=7, ebx=1, ecx=2, edx=3}]}) = -1 EPERM (x)\n[pid 3] ioctl(5, KVM_SET_REGS, {rax=0x5, ...}) = 0\n",
    b"9 ioctl(5, KVM_GET_SREGS <unfinished ...>\n9 <... ioctl resumed>, {cs={base=1, limit=2}, gdt={base=3}}) = 0\n"
    b"ioctl(0x4, 0xae41, 0) = 0x5\narch_prctl(ARCH_REQ_XCOMP_GUEST_PERM, 0x12 /* x */) = -1 EPERM (y)\n",
    b"warning: host doesn't support requested feature: CPUID.07H:EBX.fsgsbase [bit 0]\n"
    b"error: failed to set MSR 0x48b to 0x15\n"
    b"warning: host doesn't support requested feature: CPUID[eax=0Dh,ecx=01h].EAX.xsaves [bit 3]\n",
    b" CPU 0/KVM-4371 [005] d.. 156.01: kvm_entry: vcpu 1, rip 0xfff0\n q-1 [0] 1.2: kvm_cpuid: func d idx 1 rax 1f"
    b" rbx 9 rcx 1 rdx 0, found\n q-1 [0] 1.3: kvm_msr: msr_write 1c4 = 0x40000\n",
    b"x 1 [007] 1.2: x86_fpu:x86_fpu_after_save: x86/fpu: 0xff load: 0 xfeatures: 3 xcomp_bv: 80\n",
    b"VMCS 00ff, last attempted VM-entry on CPU 3\n*** Guest State ***\nCR0: actual=0x33, shadow=0x33, gh_mask=ff\n"
    b"CS:   sel=0x0010, attr=0x0a09b, limit=0xff, base=0x0\nEFER= 0x0d01\n"
    b"*** Control State ***\nPinBased=0x1 EntryControls=2\n",
    b"VMCB 00ff, last attempted VMRUN on CPU 5\nVMCB Control Area:\ncr_read: 0010\nasid: 1\nVMCB State Save Area:\n"
    b"cs:   s: f000 a: 009b l: 0000ffff b: 00000000ffff0000\n"
    b"cr0:            0000000060000010 cr2:          0000000000000000\n",
    b"vendor_id : x\nflags : fpu vme avx2 other\n\nflags : fpu\n",
    b"Features : fp asimd sve\nCPU implementer : 0x41\nCPU part : 0xd40\nCPU variant : 0x1\n",
)
