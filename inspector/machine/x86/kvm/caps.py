"""kvm_cpu_caps: what KVM has for guests, by word of CPUID.

Source: Linux arch/x86/kvm/cpuid.c, kvm_set_cpu_caps (later kvm_initialize_cpu_caps), x86.c kvm_setup_xss_caps;
svm/svm.c, svm_set_cpu_caps; vmx/vmx.c, vmx_set_cpu_caps.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.loaded import Loaded
from inspector.machine.x86.kvm.pebs import has_pebs
from inspector.machine.x86.linux import features as linux_features
from layouts.light import NamedTuple, cache
from layouts.x86.features import FEATURES
from layouts.x86.kvm_caps import KVM_FEATURES

_NO_MARK = ""
_MARKS = "+!~?"
#: The nested features of SVM, and the module parameter that each hangs on.
_NESTED_SVM = {
    "NRIPS": "nrips",
    "NPT": "npt",
    "TSCRATEMSR": "tsc_scaling",
    "V_VMSAVE_VMLOAD": "vls",
    "LBRV": "lbrv",
    "VGIF": "vgif",
    "VNMI": "vnmi",
    "GMET": "gmet",
}
#: Words that only KVM keeps (reverse_cpuid.h, enum kvm_only_cpuid_leafs).
_KVM_ONLY = frozenset(((0x80000021, 0, 2),))
_SEV = {"SEV": "sev", "SEV_ES": "sev_es", "SEV_SNP": "sev_snp"}
_SGX = ("SGX", "SGX_LC", "SGX1", "SGX2", "SGX_EDECCSSA")


class _Row(NamedTuple):
    """A word since a release: marks, features and their bits."""

    since: tuple[int, int]
    features: tuple[tuple[str, str, int], ...]


@cache
def _rows(word: tuple[int, int, int]) -> tuple[_Row, ...]:
    by_release = KVM_FEATURES.get(f"{word[0]:x}.{word[1]:x}.{('eax', 'ebx', 'ecx', 'edx')[word[2]]}", {})
    return tuple(_Row(release, tuple(map(_feature, text.split()))) for release, text in by_release.items())


def _feature(marked: str) -> tuple[str, str, int]:
    mark, name = (marked[0], marked[1:]) if marked[0] in _MARKS else (_NO_MARK, marked)
    return mark, name, 1 << FEATURES[name].bit


class _Words(dict[tuple[int, int, int], int]):
    """The mask of each word, made when it is asked for: who asks for one bit of many kernels needs few."""

    def __init__(self, kvm: Loaded) -> None:
        self.kvm = kvm
        #: By word what was set and cleared since: masks of what stays and of what is added.
        self._changes: dict[tuple[int, int, int], list[tuple[int, int]]] = {}

    def __missing__(self, word: tuple[int, int, int]) -> int:
        found = self._initial(word)
        for kept, added in self._changes.get(word, ()):
            found = found & kept | added
        self[word] = found
        return found

    def change(self, word: tuple[int, int, int], *, clear: int = 0, add: int = 0) -> None:
        """Bits of a word go or come, now or when it is made."""
        if word in self:
            self[word] = self[word] & ~clear | add
        else:
            self._changes.setdefault(word, []).append((~clear, add))

    def _initial(self, word: tuple[int, int, int]) -> int:
        """kvm_cpu_cap_init: what KVM passes on of the word, as far as the CPU and Linux have it."""
        if word in _KVM_ONLY and not self.kvm.since(5, 11):
            return linux_features.lnx_5(self.kvm.host)
        linux = self.kvm.boot_word(word)
        since = [row for row in _rows(word) if self.kvm.since(*row[0])]
        if not since:
            # Words that nobody masks stay as Linux has them (memcpy of x86_capability), before 6.14.
            return 0 if self.kvm.since(6, 14) else linux
        raw = self.kvm.raw_register(word)
        found = 0
        for mark, name, bit in since[-1][1]:
            if mark == "~" and word in _KVM_ONLY and self.kvm.since(6, 14) and not self.kvm.since(7, 0):
                # SYNTHESIZED_F asked nobody, and no word of Linux's was there to mask it (until 7.0).
                found |= bit
            elif mark == "+" or (mark == "!" and raw & bit) or (mark == "~" and self.kvm.boot_has(name)):
                found |= bit
            elif not mark or mark == "?":
                found |= bit & raw & linux
        return found


class Caps:
    """The masks by word."""

    def __init__(self, kvm: Loaded) -> None:
        self.kvm = kvm
        self.words = _Words(kvm)

    def set(self, feature: str) -> None:
        """kvm_cpu_cap_set."""
        leaf, subleaf, register, bit = FEATURES[feature]
        self.words.change((leaf, subleaf, register), add=1 << bit)

    def set_if(self, feature: str, held: object) -> None:
        """kvm_cpu_cap_set, where a condition holds."""
        if held:
            self.set(feature)

    def check_and_set(self, *features: str) -> None:
        """kvm_cpu_cap_check_and_set: only where Linux has the feature."""
        for feature in features:
            self.set_if(feature, self.kvm.boot_has(feature))

    def clear(self, *features: str) -> None:
        """kvm_cpu_cap_clear."""
        for feature in features:
            leaf, subleaf, register, bit = FEATURES[feature]
            self.words.change((leaf, subleaf, register), clear=1 << bit)

    def has(self, feature: str) -> bool:
        """kvm_cpu_cap_has."""
        leaf, subleaf, register, bit = FEATURES[feature]
        return bool(self.words[leaf, subleaf, register] >> bit & 1)


def cpu_caps(kvm: Loaded) -> Caps:
    """The masks of KVM as it is loaded."""
    caps = Caps(kvm)
    _common(caps)
    if kvm.is_svm:
        _svm(caps)
    else:
        _vmx(caps)
    _supervisor_state(caps)
    return caps


def _common(caps: Caps) -> None:
    """What kvm_set_cpu_caps does besides its lists."""
    kvm = caps.kvm
    if not kvm.tdp or not kvm.boot_has("OSPKE"):
        caps.clear("PKU")
    if not kvm.tdp:
        caps.clear("SHSTK")
        caps.set("GBPAGES")
    if kvm.is_on("allow_smaller_maxphyaddr"):
        caps.clear("SHSTK", "IBT")
    has = kvm.boot_has
    if kvm.since(6, 14):
        caps.set_if("SPEC_CTRL", has("AMD_IBPB_RET") and has("AMD_IBPB") and has("AMD_IBRS"))
    else:
        caps.set_if("SPEC_CTRL", has("IBPB") and has("IBRS"))
    caps.set_if("INTEL_STIBP", has("STIBP"))
    caps.set_if("SPEC_CTRL_SSBD", has("AMD_SSBD"))
    caps.set_if("AMD_IBPB", has("IBPB"))
    caps.set_if(
        "AMD_IBPB_RET", kvm.since(6, 14) and has("IBPB") and has("SPEC_CTRL") and not kvm.has_bug("EIBRS_PBRSB")
    )
    caps.set_if("AMD_IBRS", has("IBRS"))
    caps.set_if("AMD_STIBP", has("STIBP"))
    caps.set_if("AMD_SSBD", has("SPEC_CTRL_SSBD"))
    caps.set_if("AMD_SSB_NO", not kvm.has_bug("SPEC_STORE_BYPASS"))
    caps.set_if("VIRT_SSBD", has("LS_CFG_SSBD") and not has("AMD_SSBD"))
    if kvm.since(6, 0):
        caps.set_if("NULL_SEL_CLR_BASE", not kvm.has_bug("NULL_SEG"))


def _svm(caps: Caps) -> None:
    """svm_set_cpu_caps."""
    kvm = caps.kvm
    caps.clear("IBT")
    if kvm.is_on("nested"):
        caps.set("SVM")
        for feature, parameter in _NESTED_SVM.items():
            caps.set_if(feature, kvm.is_on(parameter) and (kvm.since(6, 0) or feature in ("NRIPS", "NPT")))
        caps.set_if("VMCBCLEAN", kvm.since(6, 0))
        caps.set_if("SVME_ADDR_CHK", kvm.since(6, 0))
        caps.set_if("FLUSHBYASID", kvm.since(6, 7))
        caps.set_if("PAUSEFILTER", kvm.since(6, 0) and kvm.boot_has("PAUSEFILTER"))
        caps.set_if("PFTHRESHOLD", kvm.since(6, 0) and kvm.boot_has("PFTHRESHOLD"))
    # Or with LS_CFG_SSBD, of which _common has made it where this is not there.
    caps.set_if("VIRT_SSBD", kvm.boot_has("AMD_SSBD"))
    if not kvm.since(6, 0):
        caps.check_and_set("INVPCID")
        return
    if kvm.is_on("enable_pmu"):
        caps.check_and_set("PERFCTR_CORE")
        if not caps.has("PERFCTR_CORE"):
            caps.clear("PERFMON_V2")
    # sev_set_cpu_caps: from 6.12 on set, before left as the CPU and Linux have it.
    for feature, parameter in _SEV.items():
        if not kvm.is_on(parameter):
            caps.clear(feature)
        elif kvm.since(6, 12):
            caps.set(feature)
    caps.clear("BUS_LOCK_DETECT", "MSR_IMM")


def _vmx(caps: Caps) -> None:
    """vmx_set_cpu_caps. That VMX has a control for each instruction that the CPU has is taken as given."""
    kvm = caps.kvm
    caps.set_if("VMX", kvm.is_on("nested"))
    if kvm.processor.vmx_mpx:
        caps.check_and_set("MPX")
    caps.check_and_set("INVPCID")
    if kvm.since(5, 18) and not kvm.is_on("enable_pmu"):
        caps.clear("PDCM")
    if not kvm.is_on("sgx"):
        caps.clear(*_SGX)
    caps.set_if("UMIP", not kvm.boot_has("UMIP"))
    caps.check_and_set("WAITPKG")
    if has_pebs(kvm):
        caps.check_and_set("DS", "DTES64")
    if not kvm.is_on("unrestricted_guest"):
        caps.clear("SHSTK", "IBT")


def _supervisor_state(caps: Caps) -> None:
    """kvm_setup_xss_caps: CET needs both of its components in XSS."""
    if not (caps.has("XSAVES") and caps.kvm.host.kvm_xss):
        caps.clear("SHSTK", "IBT")
