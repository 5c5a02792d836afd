# Completion for grid-ca-package. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-ca-package -f
complete -c grid-ca-package -o ca -l ca -x -d 'the CA of this hash in the trust directory (default: ask)'
complete -c grid-ca-package -o cadir -l cadir -x -a '(__fish_complete_directories)' -d 'the CA in this directory of grid-ca-create'
complete -c grid-ca-package -s d -d 'a Debian package'
complete -c grid-ca-package -s r -d 'an RPM, by rpmbuild'
complete -c grid-ca-package -o crl-url -l crl-url -x -d 'put the CRL\'s place in, for grid-fetch-crl and fetch-crl'
complete -c grid-ca-package -o package-version -l package-version -x -d 'the packages\' version (default: 1.0)'
complete -c grid-ca-package -o out -l out -x -a '(__fish_complete_directories)' -d 'where the packages are written (default: the working directory)'
complete -c grid-ca-package -s q -d 'print only errors'
complete -c grid-ca-package -o json -l json -d 'print what was made as one JSON object'
complete -c grid-ca-package -o help -l help -o usage -l usage -s h -s ? -d 'print this help and exit'
complete -c grid-ca-package -o version -l version -d 'print the version to standard error and exit'
complete -c grid-ca-package -o debug -l debug -d 'explain errors with their causes and the place in the program'
