#!/usr/bin/env bash
# Tests singularity/caffe-lrp.def without Singularity and Apptainer: copies %files into a bare Debian, runs
# %post there, makes the tree read-only, and runs %test, --help and the demo as an unknown user, with
# %environment and %runscript. Needs root, debootstrap and a network; leaves nothing behind.
# usage: scripts/check_singularity_def.sh [--keep FOLDER]     keep the bare Debian in FOLDER for the next check
#        scripts/check_singularity_def.sh --section NAME      print a section of the def, and stop
set -euo pipefail
started_in=$PWD
unset CDPATH # or cd might lead to another folder of the same name
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
script=scripts/check_singularity_def.sh
definition=singularity/caffe-lrp.def
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
user=61234 # has no line in /etc/passwd, as a user of a cluster has none in an image
demo=(-c /opt/caffe-lrp/demo/configs/demo.txt -f /opt/caffe-lrp/demo/filelists/demo.txt
    --image-root /opt/caffe-lrp/demo --formula "102,100,0")
formula_count=3
work="" # folder of this check
root="" # the tree in there that stands for the image

stop() {
    echo "$script: $1" >&2
    exit 1
}

# stop_with LOG WHY: stop, after what a command has printed.
stop_with() {
    cat -- "$1" >&2
    stop "$2"
}

# section NAME: the lines of a section. Any line whose first word begins with % starts another one.
section() {
    awk -v name="%$1" '$1 ~ /^%/ { is_wanted = tolower($1) == name; next } is_wanted' "$definition"
}

# header KEY: a value of the lines above all sections.
header() {
    awk -v key="$1:" '$1 ~ /^%/ { exit } $1 == key { print $2 }' "$definition"
}

require_means() {
    ((EUID == 0)) || stop "only root can make and enter a tree of its own; run it with sudo"
    command -v debootstrap >/dev/null ||
        stop "debootstrap is missing; on Debian or Ubuntu: apt install debootstrap"
}

# mirror SUITE: where this machine's apt gets that Debian from; nothing if it does not know it.
mirror() {
    # shellcheck disable=SC2016 # apt replaces it
    { apt-get indextargets --format '$(REPO_URI)' "Codename: $1" "Component: main" 2>/dev/null || true; } |
        awk '/^(http|https|file):/ && !found { print; found = 1 }'
}

# make_debian SUITE: a bare Debian in $root.
make_debian() {
    local mirrors
    mapfile -t mirrors < <(mirror "$1") # none: debootstrap knows one
    echo "== making a bare Debian ($1)"
    debootstrap --variant=minbase --include=python3,python3-venv "$1" "$root" "${mirrors[@]}" \
        >"$work/debootstrap.log" 2>&1 || stop_with "$work/debootstrap.log" "debootstrap failed, see above"
}

# provide_debian KEEP: a bare Debian in $root with the Python of the From image, by way of the folder KEEP.
provide_debian() {
    local from suite version kept
    from=$(header From)
    [[ $(header Bootstrap) == docker && $from =~ ^python:(3\.[0-9]+)-slim-([a-z]+)$ ]] ||
        stop "$definition: From is '$from', and only python:3.…-slim-<name of a Debian> can be stood in for"
    version=${BASH_REMATCH[1]} suite=${BASH_REMATCH[2]}
    kept=${1:+$1/debian-$suite}
    if [[ -d $kept ]]; then
        cp -a -- "$kept" "$root"
    else
        make_debian "$suite"
        if [[ -n $kept ]]; then # under its name only when it is whole
            mkdir -p -- "$1"
            cp -a -T -- "$root" "$kept.partial"
            mv -- "$kept.partial" "$kept"
        fi
    fi
    [[ $(chroot "$root" python3 --version) == "Python $version."* ]] ||
        stop "$definition: From is '$from', but Debian's $suite has $(chroot "$root" python3 --version)"
}

# What a container gets from its host: processes, devices, an empty /tmp, and a folder for output.
mount_folders() {
    mkdir -p "$root/output" "$work/output"
    mount --bind "$root" "$root" # what is a mount can be made read-only later
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$work/output" "$root/output"
}

# %files as Singularity and Apptainer copy them: wildcards expanded, links followed, folders made.
copy_files() {
    local source destination sources
    while read -r source destination; do
        [[ -z $source || $source == \#* ]] && continue
        mapfile -t sources < <(compgen -G "$source")
        ((${#sources[@]})) || stop "$definition: %files: there is no $source"
        destination=$root${destination:-$PWD/$source}
        mkdir -p -- "$(dirname -- "$destination")"
        cp -fLr -- "${sources[@]}" "$destination"
    done < <(section files)
}

# The other sections lie in an image where Singularity and Apptainer put them.
write_scripts() {
    mkdir -p "$root/.singularity.d/env"
    section environment >"$root/.singularity.d/env/90-environment.sh"
    section runscript >"$root/.singularity.d/runscript"
    section test >"$root/.singularity.d/test"
    chmod -R a+rX "$root/.singularity.d"
}

# Let the tree use the network as this machine does: names of hosts, certificates, pip's files.
lend_network() {
    local file certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    mkdir -p "$root/etc/ssl/certs" "$root/root/.config/pip"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    [[ ! -f $certificates ]] || cp -L -- "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
    for file in /etc/pip.conf /root/.config/pip/pip.conf; do # of all users, of root
        [[ ! -f $file ]] || cp -L -- "$file" "$root$file"
    done
}

# NAME=VALUE, ended by zero bytes, of all variables that tell pip its ways.
network_variables() {
    local name
    for name in $(compgen -e); do
        [[ $name == PIP_* || $name =~ ^[A-Za-z]+_(proxy|PROXY)$ ]] && printf '%s=%s\0' "$name" "${!name}"
    done
    printf 'PIP_CERT=%s\0' /etc/ssl/certs/ca-certificates.crt
}

# %post as Singularity and Apptainer run it: by "sh -ex", and without the variables of whoever builds.
run_post() {
    local variables
    echo "== %post"
    mapfile -d '' -t variables < <(network_variables)
    section post >"$root/tmp/post"
    chroot "$root" /usr/bin/env -i PATH="$path" HOME=/root "${variables[@]}" /bin/sh -ex /tmp/post \
        >"$work/post.log" 2>&1 || stop_with "$work/post.log" "%post failed, see above"
    grep '^compiled in' "$work/post.log" || stop_with "$work/post.log" "%post has compiled no kernels ahead"
    echo "packages, kernels and demo take $(du -sh "$root/opt/caffe-lrp" | cut -f1)"
}

# As at run time nothing in the tree can be changed, not even by root, but for /tmp and the output.
make_read_only() {
    rm -- "$root/tmp/post"
    chown "$user:$user" "$work/output"
    mount -o remount,bind,ro "$root"
    ! touch "$root/opt/caffe-lrp/probe" 2>/dev/null || stop "the tree could not be made read-only"
}

# in_image SETTING SCRIPT [ARGUMENT…]: a script of the image as the unknown user. SETTING is a NAME=VALUE
# that comes after %environment, as those of --env do, or empty. There is no HOME unless SETTING is one.
in_image() {
    local setting=$1 name=$2 run
    shift 2
    # shellcheck disable=SC2016 # the shell in the image expands it
    run='. /.singularity.d/env/90-environment.sh; exec env -u SETTING ${SETTING:+"$SETTING"} /bin/sh "$@"'
    chroot --userspec="$user:$user" --groups= "$root" /usr/bin/env -i PATH="$path" SETTING="$setting" \
        /bin/sh -c "$run" sh "/.singularity.d/$name" "$@"
}

# The demo has to find the kernels of the image, and to write all files; the clock runs to the first heatmap.
check_demo() {
    local start first ending count=$((formula_count * $(grep -c . filelists/demo.txt)))
    echo "== the demo, by a user whose home folder is not there"
    start=$EPOCHREALTIME
    in_image HOME=/nonexistent runscript "${demo[@]}" -p /output >"$work/demo.log" 2>&1 ||
        stop_with "$work/demo.log" "the demo failed, see above"
    cat "$work/demo.log"
    # A note about another place would hold this word.
    ! grep -q kernels "$work/demo.log" || stop "the demo does not use the kernels of the image, see above"
    for ending in heatmap.png as_inputted_into_the_dnn.png top10scores.txt rawhm.txt; do
        (($(find "$work/output" -type f -size +0 -name "*_$ending" | wc -l) == count)) ||
            stop "the demo should have written $count files *_$ending"
    done
    first=$(find "$work/output" -name '*_heatmap.png' -printf '%T@\n' | sort -n | sed -n 1p)
    awk -v start="$start" -v first="$first" \
        'BEGIN { printf "the first heatmap was there %.2f s after the start\n", first - start }'
}

check_test() {
    echo "== %test, by a user without a home folder: is anything compiled?"
    in_image "" test || stop "%test failed, see above"
}

check_help() {
    echo "== --help"
    in_image "" runscript --help >"$work/help.log" || stop "--help failed, see above"
    grep -q -e --filelist "$work/help.log" || stop_with "$work/help.log" "--help should explain the options"
}

# Kernels for another CPU than the image's have to go where something can be written.
check_other_cpu() {
    local expected="compiled kernels are kept in /tmp/caffe-lrp-$user"
    echo "== another CPU than that of the image"
    in_image CAFFE_LRP_CPU=host runscript "${demo[@]}" --dry-run >"$work/other.log" 2>&1 ||
        stop_with "$work/other.log" "it failed, see above"
    grep -e "$expected" "$work/other.log" || stop_with "$work/other.log" "it should have said '$expected'"
}

# An interrupted check may have left programs that go on writing.
processes_in_tree() {
    local process
    for process in /proc/[0-9]*; do
        [[ $(readlink "$process/root") != "$root" ]] || echo "${process#/proc/}"
    done
}

clean_up() {
    local processes
    while mapfile -t processes < <(processes_in_tree) && ((${#processes[@]})); do
        kill -KILL "${processes[@]}" 2>/dev/null || true # it may have ended by itself
        sleep 0.1
    done
    ! mountpoint -q "$root" || umount --recursive "$root"
    # Other file systems would be left alone, should one still be mounted.
    rm -rf --one-file-system -- "$work"
}

check() {
    work=$(realpath -- "$(mktemp -d)")
    root=$work/root
    trap clean_up EXIT
    chmod a+rx "$work"
    provide_debian "$1"
    mount_folders
    copy_files
    write_scripts
    lend_network
    run_post
    make_read_only
    check_demo
    check_test
    check_help
    check_other_cpu
    echo "== all is well with $definition"
}

keep=""
case ${1-} in
"") ;;
--section) section "${2:?the name of a section is missing}" && exit ;;
--keep) keep=$(cd -- "$started_in" && realpath -m -- "${2:?a folder is missing}") ;;
*) stop "there is no argument '$1'; known are --keep FOLDER and --section NAME" ;;
esac
require_means
if [[ -z ${IN_OWN_MOUNTS-} ]]; then
    # Nobody else sees mounts of a namespace of its own, and they end with this process, however it ends.
    IN_OWN_MOUNTS=1 exec unshare --mount "$BASH" "$script" ${keep:+--keep "$keep"}
fi
check "$keep"
