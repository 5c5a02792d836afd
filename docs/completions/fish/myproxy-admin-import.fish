# Completion for myproxy-admin-import. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-admin-import -f
complete -c myproxy-admin-import -s f -l from -x -a '(__fish_complete_directories)' -d 'the C server\'s storage directory; its files are left as they are'
complete -c myproxy-admin-import -s n -l dry-run -d 'only read the files and tell what cannot be used'
complete -c myproxy-admin-import -s s -l storage -x -a '(__fish_complete_directories)' -d 'the storage directory (/var/lib/myproxy)'
complete -c myproxy-admin-import -s c -l config -r -F -d 'the server\'s configuration (/etc/myproxy-server.config, if it is there)'
complete -c myproxy-admin-import -l json -d 'print one JSON object'
complete -c myproxy-admin-import -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-admin-import -s h -l help -d 'print this help and exit'
complete -c myproxy-admin-import -s u -l usage -d 'the same'
complete -c myproxy-admin-import -s V -l version -d 'print the version and exit'
