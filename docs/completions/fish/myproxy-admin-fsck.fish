# Completion for myproxy-admin-fsck. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-admin-fsck -f
complete -c myproxy-admin-fsck -s s -l storage -x -a '(__fish_complete_directories)' -d 'the storage directory (/var/lib/myproxy)'
complete -c myproxy-admin-fsck -s c -l config -r -F -d 'the server\'s configuration (/etc/myproxy-server.config, if it is there)'
complete -c myproxy-admin-fsck -s r -l repair -d 'set anew what can be told from the rest, and make indexes anew'
complete -c myproxy-admin-fsck -s q -l quarantine -d 'put aside what cannot be used; nothing is deleted'
complete -c myproxy-admin-fsck -s w -l rewrap -d 'bring every key under the first server key, or out of all'
complete -c myproxy-admin-fsck -s l -l list -d 'show what was put aside'
complete -c myproxy-admin-fsck -l restore -x -d 'bring number N back from there'
complete -c myproxy-admin-fsck -l json -d 'print one JSON array'
complete -c myproxy-admin-fsck -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-admin-fsck -s h -l help -d 'print this help and exit'
complete -c myproxy-admin-fsck -s u -l usage -d 'the same'
complete -c myproxy-admin-fsck -s V -l version -d 'print the version and exit'
