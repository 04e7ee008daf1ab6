/* probe - can this host's KVM run our guests at all; every reason why not comes with its remedy. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/kvm/kvm_internal.h"

#define KVM_NODE "/dev/kvm"

static const struct {
    int cap;
    const char *name, *since, *what;
} caps[] = {
#define CAP(cap, since, what) {cap, #cap, since, what},
#include "engine/kvm/caps.def"
#undef CAP
};

static int cannot_open(int error, struct err *e)
{
    switch (error) {
    case ENOENT:
        return err_set(e, E_NOENT,
                       KVM_NODE
                       " is missing: enable VT-x or AMD-V in the firmware and "
                       "load kvm_intel or kvm_amd; inside a virtual machine, allow nesting");
    case ENXIO:
    case ENODEV: return err_set(e, E_NOENT, KVM_NODE " has no driver: load kvm_intel or kvm_amd");
    case EACCES:
    case EPERM:
        return err_set(e, E_PERM,
                       KVM_NODE " may not be opened: join the group that owns it "
                                "(usermod -aG kvm $USER), or pass it into the container");
    default: errno = error; return err_errno(e, "open " KVM_NODE);
    }
}

int kvm_open(struct err *e)
{
    int dev = open(KVM_NODE, O_RDWR | O_CLOEXEC);
    if (dev < 0) return cannot_open(errno, e);
    int version = ioctl(dev, KVM_GET_API_VERSION, 0);
    if (version == KVM_API_VERSION) return dev;
    close(dev);
    if (version < 0) return err_set(e, E_UNSUPPORTED, KVM_NODE " is not KVM: remove what is there");
    return err_set(e, E_VERSION, "KVM speaks version %d of its interface, not %d: another kernel",
                   version, KVM_API_VERSION);
}

static int check_caps(int dev, struct err *e)
{
    for (u32 i = 0; i < ARRAY_LEN(caps); i++) {
        if (ioctl(dev, KVM_CHECK_EXTENSION, caps[i].cap) > 0) continue;
        return err_set(e, E_UNSUPPORTED, "KVM lacks %s, needed for %s: Linux %s or later has it",
                       caps[i].name, caps[i].what, caps[i].since);
    }
    return 0;
}

static int check_create(int dev, struct err *e)
{
    int vm = ioctl(dev, KVM_CREATE_VM, 0);
    if (vm >= 0) return close(vm);
    if (errno == EBUSY)
        return err_set(e, E_BUSY,
                       "KVM: another hypervisor uses the processor's virtualization: "
                       "stop it (VirtualBox, VMware)");
    return err_errno(e, "KVM: KVM_CREATE_VM");
}

int kvm_probe(struct err *e)
{
    int dev = kvm_open(e);
    if (dev < 0) return dev;
    int rc = check_caps(dev, e);
    if (rc == 0) rc = check_create(dev, e);
    close(dev);
    return rc;
}
